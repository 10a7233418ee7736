"""The prompt field: everything is asked about, in any words, and what a human wrote stays."""

from __future__ import annotations

import copy
from typing import Any

from tests.backend.calls import (
    asking,
    captions,
    rectangle,
    text,
)
from tests.backend.conftest import SetStage
from tests.backend.stubs import StubModel


def test_the_prompt_area_fills_every_empty_region_and_stays_on_the_page(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    human = rectangle("human")
    body = copy.deepcopy(drawn)
    shapes = body["tasks"][0]["drafts"][0]["result"]
    shapes += [human, text(human, ["mine"])]
    body = asking(body, "caption all")
    back = set_stage().predict(body)
    assert not any(item["id"] == "prompt1" for item in back)
    found = captions(back)
    assert found.pop("human") == ("mine",)
    assert found == {s["id"]: ("a red car",) for s in shapes[:2]}
    assert not any(item["type"] == "relation" for item in back)


def test_asking_for_relations_appends_sentences_and_keeps_the_humans(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    def say(prompt: str, options: list[str]) -> str:
        if "holds" in options:
            return "next to"
        return options[0] if options else "The tree is next to the house."

    there = {
        "id": "rel9",
        "value": {"text": ["The house is old."]},
        "from_name": "relcaption",
        "to_name": "img",
        "type": "textarea",
        "origin": "manual",
    }
    body = asking(drawn, "caption all", "and their relations")
    body["params"]["context"]["result"].append(there)
    back = set_stage(stub=StubModel(say=say)).predict(body)
    lines = [item for item in back if item["from_name"] == "relcaption"]
    assert len(lines) == 1 and lines[0]["id"] == "rel9"
    assert lines[0]["value"]["text"] == ["The house is old.", "The tree is next to the house."]
    assert not any(item["type"] == "relation" for item in back)


def test_the_same_words_in_the_prompt_area_are_not_asked_twice(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage()
    stage.predict(asking(drawn, "caption all"))
    before = len(stage.model.asked)
    again = stage.predict(asking(drawn, "caption all"))
    assert len(stage.model.asked) == before and again == []
    stage.predict(asking(drawn, "caption all", "once more"))
    assert len(stage.model.asked) > before


def test_any_other_instruction_is_asked_of_every_region_that_no_human_wrote(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    """What we wrote is written anew in the light of it; what a human wrote stays."""
    stage = set_stage(stub=StubModel(text="one"))
    first = stage.predict(asking(drawn, "Caption all the regions, please!"))
    assert not any("please" in prompt for prompt in stage.model.prompts)
    human = rectangle("human")
    body = copy.deepcopy(drawn)
    body["tasks"][0]["drafts"][0]["result"] = [
        *(item for item in first if item["id"] != "prompt1"),
        *(human, text(human, ["mine"])),
    ]
    stage.model.text = "two"
    asked = len(stage.model.prompts)
    back = stage.predict(asking(body, "Caption all the regions, please!", "/in two words"))
    found = captions(back)
    assert found.pop("human", ("mine",)) == ("mine",)
    assert found == {id: ("two",) for id in captions(first)}
    ours = [p for p in stage.model.prompts[asked:] if "Describe" in p]
    assert len(ours) == len(found) and all("in two words" in prompt for prompt in ours)


def test_a_region_with_nothing_left_to_fill_is_not_in_the_answer_to_the_prompt_area(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    """It may have been moved or deleted since the draft was saved."""
    stage = set_stage()
    first = stage.predict(asking(drawn, "caption all"))
    body = copy.deepcopy(drawn)
    full = [item for item in first if item["id"] != "prompt1"]
    body["tasks"][0]["drafts"][0]["result"] = full
    assert stage.predict(asking(body, "caption all", "fill the rest")) == []
