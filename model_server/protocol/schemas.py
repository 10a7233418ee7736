"""Request bodies of the API, and how a bad one is named to the client.

A field that would change the answer but is not supported is refused by name instead of being
silently ignored. Knows nothing of the model or of HTTP.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from model_server.errors import RequestError, brief
from model_server.jobs import Sampling

__all__ = [
    "ChatRequest",
    "LoadAdapterRequest",
    "StructuredOutputs",
    "UnloadAdapterRequest",
    "parse_body",
]

MAX_OPTIONS = 512

_Text = Annotated[str, StringConstraints(min_length=1)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StructuredOutputs(_Body):
    """vLLM's structured outputs, of which one is given: `choice` is a closed question."""

    choice: list[_Text] | None = Field(default=None, min_length=1, max_length=MAX_OPTIONS)
    # Named as the field is on the wire, which pydantic keeps for a method.
    schema_: dict[str, Any] | str | None = Field(default=None, alias="json")
    regex: _Text | None = None
    json_object: bool | None = None

    def given(self) -> list[str]:
        """The names of the fields that are set."""
        fields = {"choice": self.choice, "json": self.schema_, "regex": self.regex}
        return [name for name, value in fields.items() if value is not None] + (
            ["json_object"] if self.json_object else []
        )


class StreamOptions(_Body):
    """OpenAI's stream options."""

    include_usage: bool = False


class JsonSchema(_Body):
    """The schema of an answer, with its name as OpenAI wants it."""

    name: str = "answer"
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(_Body):
    """OpenAI's response format."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(_Body):
    """Body of POST /v1/chat/completions.

    `messages` is checked by `model_server.protocol.messages`, which names the part at fault.
    `temperature` defaults to 0: suggestions should repeat.
    """

    model: _Text
    messages: list[Any] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    min_tokens: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    n: int | None = Field(default=None, ge=1, le=16)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    structured_outputs: StructuredOutputs | None = None
    response_format: ResponseFormat | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    # These describe the caller, not the answer.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None

    def samplings(self) -> list[Sampling]:
        """Decoding settings of each of the `n` answers, with the server's defaults filled in."""
        defaults = Sampling()
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stop) > 4:
            raise RequestError(f"At most 4 stop texts, got {len(stop)}.", param="stop")
        if self.top_logprobs and not self.logprobs:
            raise RequestError(
                f"top_logprobs is {self.top_logprobs} without logprobs; send logprobs: true as well, or leave "
                "top_logprobs out.",
                param="top_logprobs",
                code="invalid_value",
            )
        first = Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens or defaults.max_tokens,
            min_tokens=self.min_tokens or 0,
            temperature=self.temperature or 0.0,
            top_p=self.top_p or 1.0,
            seed=self.seed,
            top_logprobs=self.top_logprobs or 0,
            stop=tuple(text for text in stop if text),
            grammar=self._grammar(),
        )
        if self.seed is None:
            return [first] * (self.n or 1)
        return [replace(first, seed=self.seed + number) for number in range(self.n or 1)]

    def options(self) -> tuple[str, ...]:
        """Options of a closed question, or () for an open one."""
        asked = self.structured_outputs
        if asked is None or asked.choice is None:
            return ()
        if len(set(asked.choice)) != len(asked.choice):
            twice = next(option for option in asked.choice if asked.choice.count(option) > 1)
            raise RequestError(
                f"The option {brief(twice)} is given twice; options must differ.",
                param="structured_outputs.choice",
            )
        return tuple(asked.choice)

    def _grammar(self) -> str | None:
        asked, format = self.structured_outputs, self.response_format
        form = format is not None and format.type != "text"
        if asked is not None:
            given = asked.given()
            if len(given) != 1 or form:
                also = ["response_format"] if form else []
                named = ", ".join([*given, *also]) or "none"
                raise RequestError(
                    "Give one of structured_outputs.choice, .json, .regex, .json_object and "
                    f"response_format; got {named}.",
                    param="structured_outputs",
                    code="invalid_value",
                )
            if asked.regex is not None:
                from model_server.grammars import regex_grammar

                return regex_grammar(asked.regex, param="structured_outputs.regex")
            if asked.schema_ is not None:
                return _schema(asked.schema_, "structured_outputs.json")
            return _schema({"type": "object"}, "structured_outputs") if asked.json_object else None
        if format is None or format.type == "text":
            return None
        if format.type == "json_object":
            return _schema({"type": "object"}, "response_format")
        if format.json_schema is None:
            raise RequestError(
                "response_format.json_schema is missing.",
                param="response_format.json_schema",
                code="missing_field",
            )
        return _schema(format.json_schema.schema_, "response_format.json_schema.schema")


def _schema(schema: dict[str, Any] | str, param: str) -> str:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError as error:
            raise RequestError(
                f"{param} is not valid JSON: {error}.", param=param, code="invalid_value"
            ) from None
    from model_server.grammars import json_grammar

    return json_grammar(schema, param=param)


class LoadAdapterRequest(_Body):
    """Body of POST /v1/load_lora_adapter, as vLLM names it."""

    lora_name: _Text
    lora_path: _Text


class UnloadAdapterRequest(_Body):
    """Body of POST /v1/unload_lora_adapter, as vLLM names it."""

    lora_name: _Text
    lora_int_id: int | None = None


BodyT = TypeVar("BodyT", bound=BaseModel)


def parse_body(schema: type[BodyT], body: bytes) -> BodyT:
    """Parse a JSON body; raises RequestError naming the first field at fault."""
    try:
        return schema.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _told(error) from None


def _told(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    # A field that is not known may be named at any length.
    param = _path(first["loc"])[:200]
    if first["type"] == "json_invalid":
        return RequestError(f"The body is not valid JSON: {first['msg']}.", code="invalid_json")
    if first["type"] == "extra_forbidden":
        return RequestError(
            f"The field {brief(param)} is not supported by this server; leave it out.",
            param=param,
            code="unsupported_field",
        )
    if first["type"] == "missing":
        return RequestError(f"The field {param!r} is missing.", param=param, code="missing_field")
    given = brief(first.get("input"), 80)
    return RequestError(
        f"{param}: {first['msg']} (got {given}).", param=param, code="invalid_value"
    )


# What pydantic calls the types of a union that it tried.
_TRIED = ("list[", "dict[", "constrained-")


def _path(loc: tuple[int | str, ...]) -> str:
    # pydantic adds the tried type of a union to the path; the client knows only its own fields.
    text = ""
    for step in loc:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in {"str", "bool", "int"} and not step.startswith(_TRIED):
            text += f".{step}" if text else step
    return text or "body"
