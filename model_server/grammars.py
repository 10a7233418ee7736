"""Answers that must have a form: JSON of a schema, or a regular expression.

The form is compiled by llguidance, which knows for each token whether the answer may go on with it. Its grammar is
plain text, made and checked when a request is read, and matched when it is answered. Knows nothing of HTTP.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model_server.errors import RequestError

__all__ = ["Grammars", "json_grammar", "regex_grammar"]


def json_grammar(schema: Mapping[str, Any] | bool, *, param: str) -> str:
    """The grammar of JSON that fits a JSON Schema; raises RequestError naming `param`."""
    matcher = _library(param).LLMatcher
    # Small models like to fill the room with white space.
    compact = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    try:
        if isinstance(schema, Mapping):
            schema = {**schema, "x-guidance": {**compact, **schema.get("x-guidance", {})}}
        return _checked(matcher, matcher.grammar_from_json_schema(json.dumps(schema)), param)
    except (TypeError, ValueError) as error:
        raise _refused(error, param) from None


def regex_grammar(pattern: str, *, param: str) -> str:
    """The grammar of texts that fully match a regular expression; raises RequestError naming `param`."""
    matcher = _library(param).LLMatcher
    try:
        return _checked(matcher, matcher.grammar_from_regex(pattern), param)
    except ValueError as error:
        raise _refused(error, param) from None


class Grammars:
    """Constraints for the answers of one tokenizer; safe to use from several threads.

    Args:
        ends: ids that end the model's turn.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = list(ends)
        self._lock = threading.Lock()
        self._wrapped: Any = None

    def constraint(self, grammar: str | None) -> _Constraint | None:
        """Keeps one answer within a grammar; None for none."""
        if grammar is None:
            return None
        library = _library("structured_outputs")
        with self._lock:
            if self._wrapped is None:
                text = _without_first_space(self._tokenizer)
                self._wrapped = library.LLTokenizer(text, eos_token=self._ends)
        matcher = library.LLMatcher(self._wrapped, grammar)
        if matcher.get_error():
            raise _refused(matcher.get_error(), "structured_outputs")
        return _Constraint(matcher, self._wrapped.vocab_size)


class _Constraint:
    def __init__(self, matcher: Any, size: int) -> None:
        self._matcher = matcher
        self._bits = np.zeros((1, -(-size // 32)), dtype=np.int32)
        self._size = size

    def allowed(self) -> Tensor:
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits)
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._size]
        return torch.from_numpy(bits.astype(bool))

    def accept(self, token: int) -> bool:
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


def _without_first_space(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's definition, for texts that do not begin with a space of its own making."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise RequestError(
            "This model's tokenizer cannot keep answers within a form.",
            param="structured_outputs",
            code="unsupported_field",
        )
    definition = json.loads(backend.to_str())
    definition["padding"] = definition["truncation"] = None
    steps = definition.get("pre_tokenizer") or {}
    for step in [steps, *steps.get("pretokenizers", [])]:
        if "add_prefix_space" in step:
            step["add_prefix_space"] = False
    return json.dumps(definition)


def _library(param: str) -> Any:
    try:
        import llguidance
    except ImportError:
        raise RequestError(
            f"{param} needs the package llguidance, which is not installed on this server.",
            param=param,
            code="unsupported_field",
        ) from None
    return llguidance


def _checked(matcher: Any, grammar: str, param: str) -> str:
    problem = matcher.validate_grammar(grammar)
    if problem:
        raise _refused(problem, param)
    return grammar


def _refused(error: object, param: str) -> RequestError:
    return RequestError(
        f"{param} cannot be used: {' '.join(str(error).split())}",
        param=param,
        code="invalid_value",
    )
