"""Whether a model that is served is the model that was trained: the same questions, run in several ways.

The served answers (asked among the champion's, and asked alone, when a server may use merged weights) against the
trainer's own, given without a server, with the adapter beside the base and merged into it. Knows the wire and the
trainer's command line; knows nothing of scores.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.errors import ModelError, ModelUnavailable
from backend.jobs.sanity import disagreements
from backend.model_client import ModelClient

__all__ = ["MODULE", "Asked", "parity"]

MODULE = "model_server.training.answer"

_LIMIT_S = 900.0


@dataclass(frozen=True)
class Asked:
    """One question as it goes over the wire: PNG data URLs, prompt, options."""

    urls: tuple[str, ...]
    prompt: str
    options: tuple[str, ...] = ()


async def parity(
    client: ModelClient,
    questions: Sequence[Asked],
    *,
    champion: str,
    challenger: str,
    base: str,
    adapter: Path,
    folder: Path,
    max_tokens: int,
    module: str = MODULE,
) -> list[str]:
    """What does not agree, one line each; nothing if all ways of running the challenger do.

    `base` and `adapter` are folders on this machine; questions, pictures and answers are kept in `folder`. That the
    answers without a server cannot be had is a line too. Raises ModelUnavailable if the server goes away.
    """
    mixed = await asyncio.gather(
        *(
            _say(client, question, name, max_tokens)
            for question in questions
            for name in (challenger, champion)
        )
    )
    alone = [await _say(client, question, challenger, max_tokens) for question in questions]
    ways = {"the server, asked alone": alone, "the server, asked among the champion's": mixed[::2]}
    await asyncio.to_thread(_write, questions, folder, max_tokens)
    fault = await _run(module, base, adapter, folder)
    if fault is not None:
        return [*disagreements(ways), fault]
    text = await asyncio.to_thread((folder / "answers.json").read_text, encoding="utf-8")
    offline = json.loads(text)
    ways["the adapter beside its base, without a server"] = [one["loaded"] for one in offline]
    ways["the adapter merged into its base, without a server"] = [one["merged"] for one in offline]
    (folder / "ways.json").write_text(json.dumps(ways, ensure_ascii=False, indent=1), "utf-8")
    return disagreements(ways)


async def _say(client: ModelClient, question: Asked, model: str, max_tokens: int) -> str:
    try:
        said = await client.ask(
            question.urls,
            question.prompt,
            model=model,
            options=question.options,
            max_tokens=max_tokens,
        )
    except ModelUnavailable:
        raise
    except ModelError:
        return ""
    return said.text


def _write(questions: Sequence[Asked], folder: Path, max_tokens: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, question in enumerate(questions):
        names = []
        for place, url in enumerate(question.urls):
            names.append(f"{number:03d}-{place}.png")
            (folder / names[-1]).write_bytes(base64.b64decode(url.partition(",")[2]))
        line = {
            "images": names,
            "prompt": question.prompt,
            "options": list(question.options),
            "max_tokens": max_tokens,
        }
        lines.append(json.dumps(line, ensure_ascii=False))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


async def _run(module: str, base: str, adapter: Path, folder: Path) -> str | None:
    """Answer without a server; what went wrong, in one line."""
    command = [sys.executable, "-m", module, "--base", base]
    command += ["--adapter", str(adapter), "--questions", str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    except TimeoutError:
        return f"the adapter could not be run without a server within {_LIMIT_S:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return None
    words = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return f"the adapter could not be run without a server: {(words or ['no reason'])[-1][:200]}"
