"""Relations through a whole backend: which pairs are asked about, what may be answered, what geometry takes back."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.results import check_results, read_results
from tests.backend.calls import rectangle
from tests.backend.conftest import SetStage, Stage
from tests.backend.mutations import nonsense, recorded
from tests.backend.stubs import StubModel

Body = dict[str, Any]


def batch(config: str | None = None, *shapes: Body) -> Body:
    body: Body = copy.deepcopy(recorded()["request_predict_batch"])
    del body["tasks"][1:]
    body["tasks"][0]["predictions"] = [
        {"id": 1, "model_version": "detector", "result": list(shapes)}
    ]
    if config is not None:
        body["label_config"] = config
    return body


def relations(*tags: str) -> str:
    config = str(recorded()["request_predict_batch"]["label_config"])
    head, _, rest = config.partition("<Relations>")
    return f"{head}<Relations>{''.join(tags)}{rest[rest.index('</Relations>') :]}"


def entry(stage: Stage, body: Body) -> Body:
    (found,) = stage.http.post("/predict", json=body).json()["results"]
    assert isinstance(found, dict)
    return found


def pairs_asked(stage: Stage) -> int:
    return sum(
        "no relation" in request.get("structured_outputs", {}).get("choice", ())
        for request in stage.model.asked
    )


def holds(prompt: str, options: list[str]) -> str:
    return "holds" if "holds" in options else options[0] if options else "a thing"


def test_subject_and_object_lists_prune_the_pairs(set_stage: SetStage) -> None:
    """Of six ordered pairs of a person and two cars, only those from the person to a car may be held."""
    config = relations('<Relation value="holds" subject="Person" object="Car, Tree"/>')
    shapes = rectangle("p", "Person"), rectangle("c", x=50.0), rectangle("d", x=75.0)
    stage = set_stage(stub=StubModel(say=holds))
    found = read_results(entry(stage, batch(config, *shapes))["result"]).relations
    assert {(r["from_id"], r["to_id"], *r["labels"]) for r in found} == {
        ("p", "c", "holds"),
        ("p", "d", "holds"),
    }
    assert pairs_asked(stage) == 2


def test_without_a_pair_of_the_right_labels_nothing_is_asked(set_stage: SetStage) -> None:
    config = relations('<Relation value="holds" subject="Tree" object="House"/>')
    stage = set_stage(stub=StubModel(say=holds))
    body = batch(config, rectangle("a"), rectangle("b", "Person", x=60.0))
    assert not read_results(entry(stage, body)["result"]).relations
    assert pairs_asked(stage) == 0


def test_of_many_pairs_the_nearest_are_asked(set_stage: SetStage) -> None:
    """Nine regions in a row make 72 ordered pairs; 32 are asked, neighbours first, the ends never."""
    shapes = [rectangle(f"r{n}", x=10.0 * n, width=4.0) for n in range(9)]
    stage = set_stage(stub=StubModel(say=holds), budget_s=30.0)
    found = read_results(entry(stage, batch(None, *shapes))["result"]).relations
    assert pairs_asked(stage) == 32
    apart = {abs(int(r["from_id"][1:]) - int(r["to_id"][1:])) for r in found}
    assert {1, 2} <= apart and max(apart) <= 3


@pytest.mark.parametrize("seed", range(4))
def test_no_label_outside_the_config_whatever_the_model_says(
    set_stage: SetStage, seed: int
) -> None:
    """A model that heeds no options, on shapes of which one has a label that is gone from the config."""
    babble = nonsense(random.Random(seed))
    stage = set_stage(stub=StubModel(say=lambda words, options: babble(words, [])))
    ufo = rectangle("ufo", "Spaceship", x=70.0)
    body = batch(None, rectangle("a"), rectangle("b", "Person", x=40.0), ufo)
    answer = stage.http.post("/predict", json=body).json()["results"][0]
    config = parse_config(body["label_config"])
    if answer != []:
        assert check_results(answer["result"], config)[1] == []
        assert not any(item.get("id") == "ufo" for item in answer["result"])
        assert not read_results(answer["result"]).relations


def test_a_sentence_that_the_regions_contradict_is_left_out_and_counted_while_drawing(
    set_stage: SetStage,
) -> None:
    body: Body = copy.deepcopy(recorded()["request_predict_interactive_with_draft"])
    body["label_config"] = relations('<Relation value="right of"/>')
    left, right = rectangle("left", x=5.0), rectangle("right", "Person", x=60.0)
    body["tasks"][0]["drafts"][0]["result"] = [left, right]
    area = {
        "id": "ask", "type": "textarea", "from_name": "prompt", "to_name": "img",
        "value": {"text": ["how do they relate?"]},
    }  # fmt: skip
    body["params"]["context"]["result"] = [area]

    def say(prompt: str, options: list[str]) -> str:
        if "right of" in options:
            return "right of"
        return options[0] if options else "The one is inside the other."

    stage = set_stage(stub=StubModel(say=say))
    back = stage.predict(body)
    assert not any(item.get("from_name") == "relcaption" for item in back)
    assert {item["id"] for item in back if is_shape(item)} <= {"left", "right"}
    told = stage.http.get("/metrics").text
    counted = 'regiontext_questions_total{path="interactive",result="contradicted"} '
    (line,) = (line for line in told.splitlines() if line.startswith(counted))
    # That the left one is right of the other, and the sentence.
    assert float(line.removeprefix(counted)) == 2
