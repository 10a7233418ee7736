"""Response bodies in OpenAI's shapes: completions, stream chunks, models, errors.

Pure functions from answers to dicts. Knows nothing of the model or of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_server.errors import RequestError
from model_server.folder import ModelFolder
from model_server.jobs import Answer, Token

__all__ = ["chunk", "completion", "error_body", "model_entry", "usage"]


def completion(
    answers: Sequence[Answer], *, id: str, model: str, created: int, logprobs: bool
) -> dict:
    """A chat.completion object; `choices[i].options` is added for closed questions."""
    choices = []
    for index, answer in enumerate(answers):
        choice: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": answer.text},
            "logprobs": {"content": _logprobs(answer.tokens)} if logprobs else None,
            "finish_reason": answer.finish,
        }
        if answer.options is not None:
            choice["options"] = dict(answer.options)
        choices.append(choice)
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": usage(answers),
    }


def chunk(
    delta: dict[str, Any],
    *,
    id: str,
    model: str,
    created: int,
    index: int = 0,
    finish: str | None = None,
    tokens: Sequence[Token] | None = None,
    options: dict[str, float] | None = None,
) -> dict:
    """A chat.completion.chunk object."""
    choice: dict[str, Any] = {
        "index": index,
        "delta": delta,
        "logprobs": {"content": _logprobs(tokens)} if tokens else None,
        "finish_reason": finish,
    }
    if options is not None:
        choice["options"] = options
    return {
        "id": id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [choice],
    }


def usage(answers: Sequence[Answer]) -> dict[str, int]:
    """Token counts; image tokens count as prompt tokens, and the prompt counts once."""
    prompt_tokens = answers[0].prompt_tokens
    completion_tokens = sum(len(answer.tokens) for answer in answers)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def model_entry(
    folder: ModelFolder,
    *,
    id: str,
    root: str,
    parent: str | None,
    created: int,
    limits: Mapping[str, Any],
    lineage: Mapping[str, Any] | None = None,
) -> dict:
    """One entry of GET /v1/models, with how the model takes a region."""
    return {
        "id": id,
        "object": "model",
        "created": created,
        "owned_by": "regiontext",
        "root": root,
        "parent": parent,
        "max_model_len": limits.get("max_tokens"),
        "region_input": folder.region_input,
        "view": None if folder.view is None else dict(folder.view),
        "max_regions": folder.max_regions,
        "relation_sentences": folder.relation_sentences,
        "limits": dict(limits),
        "lineage": None if lineage is None else dict(lineage),
    }


def error_body(error: RequestError) -> dict:
    """OpenAI's error object."""
    return {
        "error": {
            "message": error.message,
            "type": error.kind,
            "param": error.param,
            "code": error.code,
        }
    }


def _logprobs(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    return [
        {**_token(token), "top_logprobs": [_token(top) for top in token.top]} for token in tokens
    ]


def _token(token: Token) -> dict[str, Any]:
    return {
        "token": token.data.decode("utf-8", errors="replace"),
        "logprob": token.logprob,
        "bytes": list(token.data),
    }
