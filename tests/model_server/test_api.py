"""The API as clients see it: the official openai client against a live server."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from tests.model_server.conftest import QUESTION, ask, messages, picture

pytestmark = pytest.mark.model


def test_open_question(client: openai.OpenAI) -> None:
    answer = ask(client, logprobs=True, top_logprobs=3)
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.model == "tiny"
    assert choice.finish_reason in {"stop", "length"}
    tokens = choice.logprobs.content
    assert answer.usage.completion_tokens == len(tokens) <= 8
    assert answer.usage.prompt_tokens > 16
    for token in tokens:
        assert token.logprob <= 0
        assert bytes(token.bytes).decode(errors="replace") == token.token
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob)  # greedy
    said = b"".join(bytes(token.bytes) for token in tokens).decode(errors="replace")
    assert said.removesuffix("<|end|>").strip() == choice.message.content


def test_image_and_text_matter(client: openai.OpenAI) -> None:
    answers = {
        tuple(
            token.logprob
            for token in ask(client, text, seed, logprobs=True).choices[0].logprobs.content
        )
        for text in (QUESTION, "a large blue square")
        for seed in (0, 1)
    }
    assert len(answers) == 4


def test_no_logprobs_unless_asked(client: openai.OpenAI) -> None:
    assert ask(client).choices[0].logprobs is None


def test_sampling_follows_the_seed(client: openai.OpenAI) -> None:
    hot = {"temperature": 2.0, "max_tokens": 12}
    first = ask(client, **hot, extra_body={"seed": 5}).choices[0].message.content
    again = ask(client, **hot, extra_body={"seed": 5}).choices[0].message.content
    other = ask(client, **hot, extra_body={"seed": 6}).choices[0].message.content
    assert first == again != other
    narrow = ask(client, **hot, top_p=1e-6, extra_body={"seed": 7}).choices[0].message.content
    assert narrow == ask(client, max_tokens=12).choices[0].message.content


def test_closed_question(client: openai.OpenAI) -> None:
    options = ["red", "green", "blue", "dark green"]
    answer = ask(client, logprobs=True, extra_body={"structured_outputs": {"choice": options}})
    choice = answer.choices[0]
    assert list(choice.options) == options
    assert sum(choice.options.values()) == pytest.approx(1)
    assert choice.message.content == max(choice.options, key=choice.options.get)
    assert choice.logprobs.content[-1].token == "<|end|>"


def test_several_answers(client: openai.OpenAI) -> None:
    hot = {"temperature": 2.0, "max_tokens": 12, "extra_body": {"seed": 5}}
    several = ask(client, n=3, **hot)
    texts = [choice.message.content for choice in several.choices]
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert texts[0] == ask(client, **hot).choices[0].message.content
    assert len(set(texts)) > 1
    assert several.usage.completion_tokens > 12 >= ask(client, **hot).usage.completion_tokens
    streamed = ["", "", ""]
    for chunk in ask(client, n=3, stream=True, **hot):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "dark green"]}, "count": {"type": "integer"}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("way", ["response_format", "structured_outputs"])
def test_json_of_a_schema(client: openai.OpenAI, way: str) -> None:
    extra = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "structured_outputs": {"json": SCHEMA},
    }
    for seed in range(3):
        hot = {"temperature": 1.0 if seed else 0, "seed": seed, way: extra[way]}
        answer = ask(client, max_tokens=300, extra_body=hot).choices[0]
        if answer.finish_reason == "stop":
            said = json.loads(answer.message.content)
            assert set(said) == {"colour", "count"} and said["colour"] in {"red", "dark green"}
        else:  # an integer may be long
            assert re.match(
                r'\{"colour": "(red|dark green)", "count": -?\d+$', answer.message.content
            )


def test_text_of_a_regex(client: openai.OpenAI) -> None:
    asked = {"structured_outputs": {"regex": "(red|blue) [0-9]{2}"}}
    alone = ask(client, max_tokens=30, extra_body=asked).choices[0]
    assert re.fullmatch("(red|blue) [0-9]{2}", alone.message.content)
    assert alone.finish_reason == "stop"
    with ThreadPoolExecutor(4) as pool:  # beside open and closed questions
        others = [{}, {"structured_outputs": {"choice": ["red", "blue"]}}, asked, {}]
        said = pool.map(lambda extra: ask(client, max_tokens=30, extra_body=extra), others)
        assert list(said)[2].choices[0].message.content == alone.message.content


def test_at_least_so_many_tokens(client: openai.OpenAI) -> None:
    answer = ask(client, max_tokens=40, extra_body={"min_tokens": 40}, logprobs=True)
    assert answer.usage.completion_tokens == 40
    said = [token.token for token in answer.choices[0].logprobs.content]
    assert "<|end|>" not in said[:-1]


def test_stop_text(client: openai.OpenAI) -> None:
    whole = ask(client, max_tokens=8).choices[0].message.content
    stop = whole[len(whole) // 2 :][:2]
    cut = ask(client, max_tokens=8, stop=[stop]).choices[0]
    assert cut.message.content == whole[: whole.index(stop)].strip()
    assert cut.finish_reason == "stop"


@pytest.mark.parametrize("options", [[], ["red", "green"]])
def test_stream_says_the_same(client: openai.OpenAI, options: list[str]) -> None:
    extra = {"structured_outputs": {"choice": options}} if options else {}
    whole = ask(client, logprobs=True, extra_body=extra)
    chunks = list(
        ask(
            client,
            stream=True,
            logprobs=True,
            stream_options={"include_usage": True},
            extra_body=extra,
        )
    )
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    tokens = [
        token
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert "".join(deltas) == whole.choices[0].message.content
    assert [t.token for t in tokens] == [t.token for t in whole.choices[0].logprobs.content]
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_together_as_alone(client: openai.OpenAI) -> None:
    asked = [
        {"text": text, "seed": seed, "max_tokens": 4 + seed, "extra_body": extra}
        for seed, text in enumerate([QUESTION, "a small red star", "a", "the large object"])
        for extra in ({}, {"structured_outputs": {"choice": ["red", "a large blue square"]}})
    ]
    alone = [ask(client, **one).choices[0] for one in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda one: ask(client, **one).choices[0], asked))
    for one, other in zip(alone, together, strict=True):
        assert one.message.content == other.message.content
        assert one.finish_reason == other.finish_reason
        if hasattr(one, "options"):
            assert one.options == pytest.approx(other.options, abs=1e-4)


def test_several_images_and_text_only(client: openai.OpenAI) -> None:
    two = client.chat.completions.create(
        model="tiny", messages=messages(QUESTION, picture(1), picture(2, (30, 90))), max_tokens=4
    )
    one = ask(client, seed=1, max_tokens=4)
    assert two.usage.prompt_tokens == one.usage.prompt_tokens + 16
    none = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": QUESTION}], max_tokens=4
    )
    assert none.usage.prompt_tokens == one.usage.prompt_tokens - 16


def test_models_announce_how_they_take_a_region(client: openai.OpenAI, tiny_folder: Path) -> None:
    (entry,) = client.models.list().data
    assert entry.id == "tiny" and entry.owned_by == "regiontext" and entry.parent is None
    assert entry.root == str(tiny_folder)
    assert (entry.region_input, entry.view, entry.max_regions) == ("overlay", {"scope": "crop"}, 2)
    assert client.models.retrieve("tiny").id == "tiny"
    assert entry.limits["max_tokens"] == entry.max_model_len == 512
    assert entry.limits["max_images"] == 16 and entry.lineage is None


BAD = {
    "no such model": ({"model": "gpt-5"}, "model", 404),
    "unknown field": ({"reasoning": "high"}, "reasoning", 400),
    "no answers": ({"n": 0}, "n", 400),
    "too many answers": ({"n": 17}, "n", 400),
    "temperature": ({"temperature": 3}, "temperature", 400),
    "top_p": ({"top_p": 0}, "top_p", 400),
    "max_tokens": ({"max_tokens": 0}, "max_tokens", 400),
    "max_tokens type": ({"max_tokens": "many"}, "max_tokens", 400),
    "no options": ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", 400),
    "empty option": ({"structured_outputs": {"choice": [""]}}, "structured_outputs.choice[0]", 400),
    "same option": (
        {"structured_outputs": {"choice": ["a", "a"]}},
        "structured_outputs.choice",
        400,
    ),
    "a grammar": (
        {"structured_outputs": {"grammar": "root ::= x"}},
        "structured_outputs.grammar",
        400,
    ),
    "nothing structured": ({"structured_outputs": {}}, "structured_outputs", 400),
    "two structures": (
        {"structured_outputs": {"choice": ["a"], "regex": "a"}},
        "structured_outputs",
        400,
    ),
    "a broken regex": ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex", 400),
    "a broken schema": (
        {"structured_outputs": {"json": {"type": "colour"}}},
        "structured_outputs.json",
        400,
    ),
    "no schema": (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
        400,
    ),
    "no messages": ({"messages": []}, "messages", 400),
    "odd role": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", 400),
    "last word": ({"messages": [{"role": "assistant", "content": "x"}]}, "messages[0].role", 400),
    "no content": ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", 400),
    "odd part": (
        {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
        "messages[0].content[0].type",
        400,
    ),
    "too long": (
        {"messages": [{"role": "user", "content": "star " * 600}]},
        "messages",
        400,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_name_the_field(server: str, name: str) -> None:
    change, param, status = BAD[name]
    body = {"model": "tiny", "messages": messages(QUESTION, picture(0)), **change}
    response = httpx.post(f"{server}/v1/chat/completions", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    assert error["message"] and error["type"].endswith("_error")


def test_a_long_prompt_is_refused_before_its_stream_begins(server: str) -> None:
    body = {"model": "tiny", "messages": messages("star " * 600), "stream": True}
    response = httpx.post(f"{server}/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


BAD_URLS = {
    "https://example.com/x.png": "image_url_not_supported",
    "/etc/passwd": "image_url_not_supported",
    "data:text/plain;base64,aGk=": "invalid_image",
    "data:image/png;base64,%%%": "invalid_image",
    "data:image/png;base64," + base64.b64encode(b"not a picture").decode(): "invalid_image",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_images_name_the_part(server: str, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]
    response = httpx.post(
        f"{server}/v1/chat/completions", json={"model": "tiny", "messages": asked}
    )
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert error["code"] == BAD_URLS[url]


def test_not_json_and_no_route(server: str) -> None:
    broken = httpx.post(f"{server}/v1/chat/completions", content=b"{")
    assert broken.status_code == 400 and broken.json()["error"]["code"] == "invalid_json"
    missing = httpx.get(f"{server}/v2/models")
    assert missing.status_code == 404 and "/v2/models" in missing.json()["error"]["message"]
