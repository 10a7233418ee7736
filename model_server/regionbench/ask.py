"""Puts questions to a served model over HTTP: greedy answers, with what their tokens and options tell of confidence.

Speaks OpenAI chat completions with `logprobs`, and `structured_outputs` for closed questions, as the product does.
Knows nothing of right answers.
"""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image

from model_server.regionbench.items import Item
from regiontext.marks.view import View

__all__ = ["Said", "ask_all", "served_view"]

_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Said:
    """An answer and its signals, each in 0..1.

    product: the probability of the whole answer, the product of its tokens' for an open question and the option's among
    the options for a closed one; this is what the product shows. mean: the geometric mean of the tokens'
    probabilities. margin: by how much the likeliest option leads, None for open questions.
    """

    text: str
    product: float
    mean: float
    margin: float | None = None


def served_view(client: httpx.Client, model: str) -> View | None:
    """The view that the server announces for `model`, or None if it announces none.

    Raises ValueError when the server does not serve it, httpx.HTTPError when it does not answer.
    """
    answer = client.get("/v1/models")
    answer.raise_for_status()
    entries = {entry["id"]: entry for entry in answer.json()["data"]}
    if model not in entries:
        raise ValueError(f"the server does not serve {model!r}, only {', '.join(sorted(entries))}")
    view = entries[model].get("view")
    return None if view is None else View.from_dict(view)


def ask_all(
    client: httpx.Client,
    model: str,
    items: Sequence[Item],
    *,
    together: int = 16,
    progress: Callable[[int], None] | None = None,
) -> list[Said]:
    """Ask every item, `together` at a time, and return the answers in the items' order.

    A server that is loading (503) or busy (429) is asked again for two minutes. Raises httpx.HTTPStatusError
    when it refuses a question.
    """
    pictures: dict[int, str] = {}
    for item in items:
        for image in item.images:
            pictures.setdefault(id(image), _data_url(image))

    def one(item: Item) -> Said:
        said = _said(_post(client, model, item, [pictures[id(i)] for i in item.images]))
        if progress is not None:
            progress(1)
        return said

    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(one, items))


def _post(client: httpx.Client, model: str, item: Item, urls: Sequence[str]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": url}} for url in urls
    ]
    content.append({"type": "text", "text": item.prompt})
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 32,
        "logprobs": True,
    }
    if item.options:
        body["structured_outputs"] = {"choice": list(item.options)}
    deadline = time.monotonic() + _PATIENCE_S
    answer = client.post("/v1/chat/completions", json=body)
    while answer.status_code in (429, 503) and time.monotonic() < deadline:
        time.sleep(1)
        answer = client.post("/v1/chat/completions", json=body)
    answer.raise_for_status()
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def _said(choice: dict[str, Any]) -> Said:
    text = str(choice["message"]["content"]).strip()
    tokens = (choice.get("logprobs") or {}).get("content") or []
    values = [min(0.0, float(token["logprob"])) for token in tokens] or [0.0]
    product, mean = math.exp(math.fsum(values)), math.exp(math.fsum(values) / len(values))
    options = choice.get("options")
    if not options:
        return Said(text, product, mean)
    ranked = sorted((float(p) for p in options.values()), reverse=True)
    margin = ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0)
    return Said(text, min(1.0, float(options[text])), mean, min(1.0, margin))


def _data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
