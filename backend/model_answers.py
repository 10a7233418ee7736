"""What a model server's responses say: an answer and how sure the model is, or why there is none.

Pure: bodies in, answers or errors out. Knows nothing of connections.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from backend.errors import ModelError, ModelUnavailable, UnknownModel

__all__ = [
    "CHARS_PER_TOKEN",
    "NOT_READY",
    "Answer",
    "json_object",
    "read_answer",
    "refusal",
    "short",
    "storable",
]

# No vocabulary has many tokens that are longer; a text beyond it would fill the editor's page.
CHARS_PER_TOKEN = 64
_NO_MODEL = "does not exist"
# Statuses of a server, or of a proxy before it, that is not there yet.
NOT_READY = frozenset({408, 425, 502, 503, 504})


@dataclass(frozen=True)
class Answer:
    """What the model said.

    confidence: for a closed question the probability of the option, for an open one that of the whole answer (the
    product of its tokens' probabilities), in [0, 1]; None if the server tells neither. options: every option's
    probability, where the server scores them.
    """

    text: str
    confidence: float | None
    model: str
    options: Mapping[str, float] | None = None


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a text is; empty when it is none."""
    with suppress(ValueError):
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            return parsed
    return {}


def refusal(code: int, reason: str, body: Mapping[str, Any]) -> ModelError:
    """The error that a response other than 200 means, with what its body says; `reason` where that says nothing."""
    fault = body.get("error")
    fault = fault if isinstance(fault, Mapping) else {"message": body.get("message") or fault}
    message = short(fault.get("message") or reason)
    if code in NOT_READY or code == 429:
        return ModelUnavailable(f"the model server is not ready (HTTP {code}): {message}")
    about_model = fault.get("param") == "model" or fault.get("code") == "model_not_found"
    if code in (400, 404) and (about_model or _NO_MODEL in message.lower()):
        return UnknownModel(f"the model server does not know the model: {message}")
    return ModelError(f"the model server refuses (HTTP {code}): {message}")


def read_answer(body: Mapping[str, Any], options: tuple[str, ...], asked: str) -> Answer:
    """What a body of /chat/completions answers; `asked` is the model's name where the body names none.

    Raises ModelError for a body without an answer, an empty answer, or one that is none of the `options`.
    """
    try:
        choice = body["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ModelError(f"the model server gave no answer: {short(body)}") from error
    text = storable(text).strip() if isinstance(text, str) else ""
    if not text:
        raise ModelError("the model gave an empty answer")
    model = body.get("model")
    model = model if isinstance(model, str) and model else asked
    if not options:
        return Answer(text, _product(choice), model)
    if text not in options:
        raise ModelError(f"the model answered {text[:60]!r}, none of the options")
    scores = _scores(choice, options)
    confidence = scores[text] if scores else _product(choice)
    return Answer(text, confidence, model, scores)


def _scores(choice: Mapping[str, Any], options: tuple[str, ...]) -> dict[str, float] | None:
    """The probability of every option, if the server scored them all."""
    given = choice.get("options")
    if not isinstance(given, Mapping):
        return None
    scores = {o: given[o] for o in options if isinstance(given.get(o), (int, float))}
    if len(scores) != len(set(options)):
        return None
    return {option: _unit(float(score)) for option, score in scores.items()}


def _product(choice: Mapping[str, Any]) -> float | None:
    """The probability of the whole answer: exp of the sum of its tokens' log-probabilities."""
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    values = [t.get("logprob") if isinstance(t, Mapping) else None for t in tokens]
    numbers = [float(v) for v in values if isinstance(v, (int, float))]
    if len(numbers) != len(values):
        return None
    return _unit(math.exp(min(0.0, math.fsum(numbers))))


def storable(text: str) -> str:
    """Without what a database or UTF-8 cannot hold: NUL characters and halves of surrogate pairs."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode("utf-8")


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def short(value: object) -> str:
    """A value as one line of at most 200 characters, for messages."""
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else text[:197] + "..."
