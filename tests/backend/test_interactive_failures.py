"""Whatever fails, what was drawn comes back, with a note that says why it is unfilled."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from backend.known import NOTE, SEEN
from tests.backend.calls import (
    Results,
    calling,
    captions,
    notes,
    rectangle,
    same_shape,
)
from tests.backend.conftest import SetStage
from tests.backend.stubs import StubHost, StubModel, photo


def unfilled(given: dict[str, Any], back: Results, why: str) -> None:
    shapes = given["params"]["context"]["result"]
    assert all(same_shape(shape, back) for shape in shapes)
    assert not captions(back)
    lines = notes(back)
    assert set(lines) == {shape["id"] for shape in shapes}
    for line in lines.values():
        assert len(line) == 1 and line[0].startswith(NOTE) and why in line[0]
        assert "\n" not in line[0]


def test_model_down(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    unfilled(drawn, set_stage(stub=StubModel(down=True)).predict(drawn), "does not answer")


def test_model_too_slow_for_the_budget(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    stage = set_stage(stub=StubModel(delay=30.0), budget_s=0.8)
    stage.predict(calling(drawn))
    started = time.monotonic()
    back = stage.predict(drawn)
    assert time.monotonic() - started < 1.5
    unfilled(drawn, back, "out of time")


def test_what_is_answered_in_time_is_kept(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    model = StubModel()

    def say(prompt: str, options: list[str]) -> str:
        model.delay = 30.0  # The next one takes too long.
        return options[0] if options else "a red car"

    model.say = say
    back = set_stage(stub=model, budget_s=2.0, model_concurrency=1).predict(drawn)
    assert len(captions(back)) == 1 and "out of time" in next(iter(notes(back).values()))[0]


def test_image_refused(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    back = set_stage(label_studio_api_key="wrong").predict(drawn)
    unfilled(drawn, back, "REGIONTEXT_LABEL_STUDIO_API_KEY")


def test_image_too_slow(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    unfilled(drawn, set_stage(host=StubHost(delay=30), budget_s=0.6).predict(drawn), "in time")


def test_image_that_is_none(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    unfilled(drawn, set_stage(host=StubHost(data=b"no image")).predict(drawn), "read the image")


def test_image_from_a_foreign_host(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    drawn["tasks"][0]["data"]["image"] = "http://169.254.169.254/latest/meta-data"
    stage = set_stage()
    unfilled(drawn, stage.predict(drawn), "ALLOWED_IMAGE_HOSTS")
    assert not stage.host.seen


def test_a_bad_region_does_not_cost_the_good_one(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    bad = rectangle("bad", width="wide")
    back = set_stage().predict(calling(drawn, bad, rectangle("good")))
    assert set(captions(back)) == {"good"} and same_shape(bad, back)
    assert "width" in notes(back)["bad"][0]


def test_a_label_outside_the_config_is_still_the_annotators(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    shape = rectangle("one", "Spaceship")
    assert same_shape(shape, set_stage().predict(calling(drawn, shape)))


def test_a_config_that_cannot_be_read_echoes_the_request(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    drawn["label_config"] = "<View><Rectangle"
    unfilled(drawn, set_stage().predict(drawn), "labeling config")


def test_a_config_that_changed_meanwhile(set_stage: SetStage, drawn: dict[str, Any]) -> None:
    """The page still has the old one: the region keeps its label, and says why it is empty."""
    config = drawn["label_config"]
    drawn["label_config"] = config.replace('"Car"', '"Lorry"')
    unfilled(drawn, set_stage().predict(drawn), "'Car' is no label")


@pytest.mark.parametrize(
    ("status", "why"),
    [(400, "refuses"), (401, "refuses"), (429, "not ready"), (500, "refuses"), (503, "not ready")],
)
def test_a_model_that_refuses(
    set_stage: SetStage, drawn: dict[str, Any], status: int, why: str
) -> None:
    unfilled(drawn, set_stage(stub=Refusing(status)).predict(drawn), why)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": [{}]}', b"\xff"])
def test_a_model_that_talks_nonsense(
    set_stage: SetStage, drawn: dict[str, Any], body: bytes
) -> None:
    unfilled(drawn, set_stage(stub=Refusing(200, body)).predict(drawn), "gave no answer")


def test_a_database_that_is_gone(
    set_stage: SetStage, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = set_stage()

    def gone(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk I/O error"))

    monkeypatch.setattr("backend.assistant.stored.add_suggestions", gone)
    unfilled(drawn, stage.predict(drawn), "internal error (OperationalError)")


class Refusing(StubModel):
    """Announces itself, and answers every question with the same status and body."""

    def __init__(self, status: int, body: bytes = b'{"error": {"message": "no"}}') -> None:
        super().__init__()
        self._said = status, body

    def transport(self) -> httpx.AsyncBaseTransport:
        inner, (status, body) = super().transport(), self._said

        class Wire(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.url.path.endswith("/chat/completions"):
                    return httpx.Response(status, content=body)
                return await inner.handle_async_request(request)

        return Wire()


def test_a_region_whose_answer_another_request_waits_for_says_that_it_came_too_late(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(delay=30.0), budget_s=1.2)
    one, two = rectangle("one", "Car"), rectangle("two", "Person", x=60.0)
    first = threading.Thread(target=stage.predict, args=(calling(drawn, one),))
    first.start()
    while not stage.model.asked:
        time.sleep(0.01)
    back = stage.predict(calling(drawn, two))
    first.join()
    assert same_shape(one, back) and same_shape(two, back)
    assert all("time" in lines[0] for lines in notes(back).values()) and len(notes(back)) == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"tasks": []},
        {"tasks": [{"data": {}}]},
        {"project": None},
        {"tasks": [{"id": 2, "data": None, "drafts": [{"result": None}, 7]}]},
        {"tasks": [{"id": 2, "data": {"image": 5}}]},
    ],
)
def test_a_broken_request_never_loses_its_shapes(
    set_stage: SetStage, drawn: dict[str, Any], broken: dict[str, Any]
) -> None:
    body = drawn | broken
    back = set_stage().predict(body)
    assert same_shape(body["params"]["context"]["result"][0], back)


def test_odd_results_in_the_request_are_survived(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    shape = rectangle("one")
    odd = [{"type": "rectanglelabels"}, {"id": 7, "value": []}, {"id": "x", "type": None}]
    back = set_stage().predict(calling(drawn, *odd, shape))
    assert same_shape(shape, back)
    assert all(item in back for item in odd[1:])


def test_a_note_goes_away_when_the_region_is_filled(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(down=True))
    first = stage.predict(drawn)[0]
    first["meta"]["text"].insert(0, "a human's note")
    stage.model.down = False
    back = stage.predict(calling(drawn, first))
    assert back[0]["meta"] == {"text": ["a human's note"], SEEN: 1}
    assert len(captions(back)) == 1


def test_an_image_on_which_labels_is_not_the_size_it_says_is_decoded_at_its_own(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(host=StubHost(data=photo((400, 300))))
    assert len(captions(stage.predict(drawn))) == 1
