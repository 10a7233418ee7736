"""Payloads gone wrong: never an HTTP error, never a region lost. The benchmark `payloads` runs many more."""

from __future__ import annotations

import random

import pytest

from tests.backend.conftest import SetStage
from tests.backend.mutations import leaks_in, lost, mutants, nonsense, recorded
from tests.backend.stubs import StubModel
from tests.backend.wire import post


@pytest.mark.parametrize("how", ["well", "nonsense", "down"])
def test_no_mutant_is_an_error_or_loses_a_region(set_stage: SetStage, how: str) -> None:
    say = nonsense(random.Random(1)) if how == "nonsense" else None
    stage = set_stage(stub=StubModel(say=say, down=how == "down"))
    for body in mutants(list(recorded().values()), 200, seed=1):
        answer = post(stage.http, body)
        assert answer is not None
        assert lost(body, answer) == []
        assert leaks_in(answer) == 0


def test_what_json_lacks_is_echoed_and_does_not_stay(set_stage: SetStage) -> None:
    stage = set_stage()
    body = recorded()["request_predict_interactive_with_draft"]
    shape = body["params"]["context"]["result"][0]
    shape["value"]["x"] = float("inf")
    shape["origin"] = "\ud800"
    answer = post(stage.http, body)
    assert answer is not None
    back = answer["results"][0]["result"][0]
    assert (back["id"], back["value"]["x"], back["origin"]) == (shape["id"], None, "\ud800")


def test_the_rule_notices_a_region_that_is_gone() -> None:
    body = recorded()["request_predict_interactive_with_draft"]
    shape = body["params"]["context"]["result"][0]
    assert lost(body, {"results": [{"result": [shape]}]}) == []
    assert lost(body, {"results": [{"result": []}]}) == [repr(shape["id"])]
