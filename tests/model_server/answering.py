"""A model asked in this process, without an engine: jobs made of a text and a picture by its number."""

from __future__ import annotations

from model_server.batches import Job
from model_server.families.chat import question_turn
from model_server.families.overlay import OverlayModel
from model_server.families.packed import PackedModel
from model_server.jobs import Answer, Picture, Prompt, Sampling
from tests.model_server.conftest import picture

__all__ = ["Served", "ask", "prompt"]

Served = OverlayModel | PackedModel


def ask(model: Served, *prompts: Prompt, adapter: str | None = None) -> list[Answer]:
    jobs = [Job(prompt, adapter) for prompt in prompts]
    model.answer(jobs)
    return [job.future.result(0) for job in jobs]


def prompt(text: str, image: int = 0, options: tuple[str, ...] = (), **sampling: object) -> Prompt:
    sampling.setdefault("max_tokens", 8)
    return Prompt(
        question_turn(1, text), [Picture.of(picture(image))], options, Sampling(**sampling)
    )
