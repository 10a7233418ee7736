"""Several interactive calls at once: no region of any of them is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.backend.calls import (
    Results,
    calling,
    captions,
    notes,
    rectangle,
    same_shape,
)
from tests.backend.conftest import SetStage
from tests.backend.stubs import StubModel
from tests.backend.waiting import wait_for


def test_two_quick_drawings_of_different_labels_both_survive(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(delay=0.5))
    first, second = rectangle("first", "Car"), rectangle("second", "Person", x=60.0)
    answers: dict[str, Results] = {}

    def draw(name: str, *shapes: dict[str, Any]) -> None:
        answers[name] = stage.predict(calling(drawn, *shapes))

    one = threading.Thread(target=draw, args=("first", first))
    one.start()
    wait_for(lambda: bool(stage.model.asked), seconds=60)
    draw("second", second)
    one.join()
    assert set(captions(answers["first"])) == {"first"}
    assert set(captions(answers["second"])) == {"first", "second"}
    assert same_shape(first, answers["second"])
    assert sum("Describe" in prompt for prompt in stage.model.prompts) == 2


def test_two_annotators_who_begin_a_task_at_once(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    """Before the first draft they cannot be told apart; nothing is lost, and what may be another's says so."""
    stage = set_stage(stub=StubModel(delay=0.5))
    drawn["tasks"][0]["drafts"] = []
    drawn["tasks"][0]["annotations"] = [
        {"id": n, "completed_by": {"id": n}, "result": []} for n in (1, 2)
    ]
    first, second = rectangle("first", "Car"), rectangle("second", "Person", x=60.0)
    for pages, expected in (((None, None), {"first", "second"}), (("p", "q"), {"second"})):
        bodies = [calling(drawn, first), calling(drawn, second)]
        for body, page in zip(bodies, pages, strict=True):
            body["tasks"][0]["id"] = 70 + len(expected)
            body["params"]["context"]["regiontext_page"] = page
        with ThreadPoolExecutor() as pool:
            before = len(stage.model.asked)
            one = pool.submit(stage.predict, bodies[0])
            wait_for(lambda before=before: len(stage.model.asked) > before, seconds=60)
            back = stage.predict(bodies[1])
        assert set(captions(one.result())) == {"first"} and not notes(one.result())
        assert set(captions(back)) == expected
        assert set(notes(back)) == expected - {"second"}
        assert all("delete it here" in lines[0] for lines in notes(back).values())


def test_a_region_sent_again_while_it_is_asked_about_is_asked_once(
    set_stage: SetStage, drawn: dict[str, Any]
) -> None:
    stage = set_stage(stub=StubModel(delay=0.5))
    first, second = rectangle("first"), rectangle("second", x=60.0)
    thread = threading.Thread(target=stage.predict, args=(calling(drawn, first),))
    thread.start()
    wait_for(lambda: bool(stage.model.asked), seconds=60)
    back = stage.predict(calling(drawn, first, second))
    thread.join()
    assert set(captions(back)) == {"first", "second"}
    assert sum("Describe" in prompt for prompt in stage.model.prompts) == 2
