"""The model version that Label Studio sees: `name@adapter+render+questions`.

It changes when, and only when, the same region could get another answer: another model, adapter, view or wording.
Label Studio asks for new predictions where the stored ones carry another version. Knows nothing of where the parts
come from.
"""

from __future__ import annotations

from regiontext.labelstudio.config import LabelingConfig
from regiontext.marks.view import View
from regiontext.questions.templates import questions_hash

__all__ = ["BASE", "adapter_of", "model_version"]

BASE = "base"
"""What stands for the adapter when the base model itself answers."""

_DIGITS = 7


def model_version(base: str, adapter: str | None, view: View, config: LabelingConfig) -> str:
    """For example "regiontext-mini@0001+r1a2b3c4+q5d6e7f8".

    base: the base model's id. adapter: the adapter's id ("regiontext-mini:0001", of which the part after the base is
    shown), None for the base itself. view: how regions are rendered. config: where the questions come from.
    """
    shown = adapter_of(adapter, base) if adapter else BASE
    render, questions = view.hash[:_DIGITS], questions_hash(config)[:_DIGITS]
    return f"{base}@{shown}+r{render}+q{questions}"


def adapter_of(name: str, base: str) -> str:
    """The adapter's own name in the id it is requested by: "0001" of "regiontext-mini:0001"."""
    return name.removeprefix(f"{base}:") or name
