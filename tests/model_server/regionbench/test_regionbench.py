"""RegionBench: its questions hold what they promise, and a model that ignores the marks is found out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import httpx
import pytest

from model_server.regionbench.__main__ import _tables, main, measure, questions
from model_server.regionbench.ask import Said, ask_all, served_view
from model_server.regionbench.items import (
    UNSEEN_KIND,
    control_items,
    kind_items,
    pair_items,
    region_items,
)
from model_server.regionbench.score import confidence, figures, fits_better
from model_server.worlds import vocabulary
from model_server.worlds.drawing import TRAINED_KINDS, bundled_view
from regiontext.marks.view import View

VIEW = bundled_view()
CLIENT = httpx.Client


@pytest.fixture(scope="module")
def items():
    return questions(VIEW, 10)


def _all_said(items, say):
    return figures([(item, say(item)) for item in items])


def test_every_trained_kind_takes_its_turn_and_the_unseen_one_is_not_among_them(items):
    regions = [item for item in items if item.suite == "regions"]
    captions = [item for item in regions if item.kind == "caption"]
    assert Counter(item.tags["mark"] for item in captions) == dict.fromkeys(TRAINED_KINDS, 1)
    assert UNSEEN_KIND not in TRAINED_KINDS
    assert {item.attribute for item in regions} == {"", *vocabulary.ATTRIBUTES}
    assert all(item.answer in item.options for item in items if item.options)


def test_the_same_seed_asks_the_same():
    first, again = (list(region_items(VIEW, 3)) for _ in range(2))
    assert [(i.prompt, i.answer) for i in first] == [(i.prompt, i.answer) for i in again]
    assert first[0].images[0].tobytes() == again[0].images[0].tobytes()
    assert [i.prompt for i in region_items(VIEW, 3, seed=5)] != [i.prompt for i in first]


def test_withheld_combinations_are_asked_about_only_in_their_suite(items):
    def words(item):
        return dict(zip(vocabulary.ATTRIBUTES, item.answer.split()[1:], strict=True))

    for item in items:
        if item.kind == "caption" and item.suite in ("regions", "withheld"):
            assert vocabulary.withheld(words(item)) == (item.suite == "withheld")


def test_the_controls_put_the_same_words_to_the_same_picture():
    by_suite = {}
    for item in control_items(VIEW, 4):
        by_suite.setdefault(item.suite, []).append(item)
    for marked, removed, moved in zip(
        *(by_suite[n] for n in ("marked", "removed", "moved")), strict=True
    ):
        assert marked.prompt == removed.prompt and "% of the image" not in marked.prompt
        assert marked.answer == removed.answer == moved.other and moved.answer == marked.other
        sizes = {item.images[0].size for item in (marked, removed, moved)}
        assert len(sizes) == 1 and max(sizes.pop()) <= VIEW.max_side
        assert len({item.images[0].tobytes() for item in (marked, removed, moved)}) == 3


def test_each_region_is_drawn_in_every_kind():
    some = list(kind_items(VIEW, 2, ("rectangle", UNSEEN_KIND), suite="unseen_kind"))
    assert [item.tags["mark"] for item in some] == ["rectangle", UNSEEN_KIND] * 2
    assert some[0].answer == some[1].answer and some[0].prompt != some[1].prompt


def test_pairs_ask_for_place_and_for_what_is_shared():
    kinds = Counter(item.kind for item in pair_items(VIEW, 6))
    assert kinds == {"relation": 6, "same": 12, "sentence": 6}


def test_a_perfect_model_passes_everything(items):
    told = _all_said(items, lambda item: Said(item.answer, 1.0, 1.0, 1.0 if item.options else None))
    claims = dict(told["claims"])
    assert claims.pop("ece") == 0.0
    # Nobody can know which object is meant when the mark is gone.
    assert claims.pop("mark_removed") == 1.0
    assert set(claims.values()) == {1.0}
    assert set(claims) >= {"caption_exact", "shape", "relation_same", "unseen_kind", "mark_moved"}


def test_a_model_that_ignores_the_mark_does_not_follow_it(items):
    told = _all_said(items, lambda i: Said(i.other if i.suite == "moved" else i.answer, 0.9, 0.9))
    assert told["claims"]["mark_moved"] == 0.0 and told["claims"]["mark_removed"] == 1.0


def test_a_guess_is_right_as_often_as_the_objects_that_could_be_meant_have_the_caption():
    by_region: dict[int, list] = {}
    for item in control_items(VIEW, 12):
        by_region.setdefault(item.region, []).append(item)
    shares = {marked.meant for marked, _, _ in by_region.values()}
    # Of two objects to seven, one has the caption, or two that are alike.
    assert len(shares) > 1 and all(1 / 7 <= share <= 2 / 3 for share in shares)
    assert all(marked.meant == removed.meant for marked, removed, _ in by_region.values())


def test_chance_is_what_a_model_that_marks_tell_nothing_gets_right():
    some = list(control_items(VIEW, 40))
    wrong = {item.region for item in some[::12]}

    def say(item):
        return Said("?" if item.region in wrong else item.answer, 0.9, 0.9)

    removed = _all_said(some, say)["controls"]["removed"]
    assert removed["right"] == pytest.approx(1 - len(wrong) / 40)
    guessed = [i.meant for i in some if i.suite == "removed" and i.region not in wrong]
    assert removed["chance"] == pytest.approx(sum(guessed) / 40, abs=1e-4)
    only = [(item, say(item)) for item in some if item.suite == "removed"]
    assert "chance" not in figures(only)["controls"]["removed"]


def test_chance_is_shown_beside_the_removed_mark():
    told = _all_said(list(control_items(VIEW, 4)), lambda i: Said(i.answer, 0.9, 0.9))
    table = next(t for t in _tables(told) if t.columns[0].header == "control")
    rows = dict(zip(table.columns[0].cells, table.columns[2].cells, strict=True))
    chance = f"{told['controls']['removed']['chance']:.3f}"
    assert rows == {"marked": "", "removed": chance, "moved": ""}


def test_a_caption_fits_the_object_with_more_of_its_words():
    one, other = "a large red wooden star", "an orange striped wooden ring"
    assert fits_better("a small red wooden star", one, "a small blue brick ring")
    assert not fits_better(one, one, one)
    assert not fits_better("", one, other)


def test_confidence_tells_a_good_signal_from_a_bad_one(items):
    regions = [item for item in items if item.suite == "regions"]
    said = [
        (item, Said(item.answer if n % 4 else "?", 0.9 if n % 4 else 0.1, 0.75))
        for n, item in enumerate(regions)
    ]
    found = confidence(said, [])
    assert found["product"]["auroc"] == 1.0 and found["mean"]["auroc"] == 0.5
    assert found["product"]["ece"] == pytest.approx(0.1, abs=0.01)
    assert found["product"]["ece_isotonic"] < 0.02
    curve = found["product"]["curve"]
    assert [count for _, _, count in curve] == [
        sum(n % 4 == 0 for n in range(len(regions))),
        sum(n % 4 != 0 for n in range(len(regions))),
    ]


def test_agreement_counts_the_kinds_that_say_the_same():
    some = list(kind_items(VIEW, 12, ("rectangle", "ellipse", "contour"), suite="agreement"))
    said = [
        (item, Said(item.answer if n % 3 < 2 else "?", 0.5, 0.5)) for n, item in enumerate(some)
    ]
    found = confidence(said, said)["agreement, captions"]
    assert found["n"] == 12 and found["curve"] == [[0.6667, 1.0, 12]]


def _server(seen):
    def answer(request):
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "mini", "view": VIEW.to_dict()}]})
        body = json.loads(request.content)
        seen.append(body)
        choice = {
            "message": {"content": "a large red wooden star"},
            "logprobs": {"content": [{"logprob": -0.5}, {"logprob": -0.1}]},
        }
        if "structured_outputs" in body:
            options = body["structured_outputs"]["choice"]
            shares = [0.7] + [0.3 / (len(options) - 1)] * (len(options) - 1)
            choice["options"] = dict(zip(options, shares, strict=True))
            choice["message"]["content"] = options[0]
        return httpx.Response(200, json={"choices": [choice]})

    return CLIENT(base_url="http://model", transport=httpx.MockTransport(answer))


def test_questions_are_put_as_the_product_puts_them():
    seen: list[dict] = []
    some = list(region_items(VIEW, 1, asked=("caption", "choice")))
    with _server(seen) as client:
        assert served_view(client, "mini") == VIEW
        with pytest.raises(ValueError, match="does not serve 'other', only mini"):
            served_view(client, "other")
        said = ask_all(client, "mini", some, together=1)
    assert said[0].text == "a large red wooden star" and said[0].margin is None
    assert said[0].product == pytest.approx(0.5488, abs=1e-3)
    assert said[0].mean == pytest.approx(0.7408, abs=1e-3)
    assert said[1].product == 0.7 and said[1].margin == pytest.approx(0.7 - 0.3 / 2)
    assert seen[0]["temperature"] == 0 and seen[0]["logprobs"] is True
    assert seen[0]["messages"][0]["content"][-1]["text"] == some[0].prompt
    assert seen[1]["structured_outputs"] == {"choice": list(some[1].options)}


def test_a_busy_server_is_asked_again(monkeypatch):
    monkeypatch.setattr("model_server.regionbench.ask.time.sleep", lambda _: None)
    refusals = [429, 503, 429]

    def answer(request):
        if refusals:
            return httpx.Response(refusals.pop())
        return httpx.Response(200, json={"choices": [{"message": {"content": "a star"}}]})

    (item,) = region_items(VIEW, 1, asked=("caption",))
    with CLIENT(base_url="http://model", transport=httpx.MockTransport(answer)) as client:
        assert ask_all(client, "mini", [item])[0].text == "a star"


def test_a_server_that_announces_no_view_is_shown_what_the_product_shows_it(monkeypatch, capsys):
    def answer(request):
        return httpx.Response(200, json={"data": [{"id": "mini"}]})

    def client(**_):
        return CLIENT(base_url="http://model", transport=httpx.MockTransport(answer))

    shown = []
    monkeypatch.setattr("model_server.regionbench.__main__.httpx.Client", client)
    monkeypatch.setattr(
        "model_server.regionbench.__main__.questions",
        lambda view, regions, *, seed: shown.append(view) or [],
    )
    monkeypatch.setattr("model_server.regionbench.__main__.figures", lambda _: {"claims": {}})
    monkeypatch.setattr("model_server.regionbench.__main__._tables", lambda _: [])
    call = ["--url", "http://model", "--model", "mini"]
    for given in ([], ["--view", '{"scope": "both", "evidence": true}']):
        assert main([*call, *given]) == 0
    assert shown == [View(), View(scope="both", evidence=True)]
    with pytest.raises(SystemExit):
        main([*call, "--view", '{"scope": "nowhere"}'])
    assert "nowhere" in capsys.readouterr().err


def test_a_run_over_http_says_what_it_asked(monkeypatch, tmp_path, capsys):
    seen: list[dict] = []
    monkeypatch.setattr("model_server.regionbench.__main__.httpx.Client", lambda **_: _server(seen))
    few = list(region_items(VIEW, 2, asked=("caption", "choice")))
    asked_for = []

    def some(view, regions, *, seed):
        asked_for.append((view.scope, regions, seed))
        return few

    monkeypatch.setattr("model_server.regionbench.__main__.questions", some)
    told = measure("http://model", "mini", regions=4, view=replace(VIEW, scope="whole"))
    assert told["run"]["questions"] == len(seen) == len(few)
    assert told["run"]["view"]["scope"] == "whole"
    out = tmp_path / "told.json"
    call = ["--url", "http://model", "--model", "mini", "--regions", "2", "--json", str(out)]
    assert main(call) == 0
    assert [each[:2] for each in asked_for] == [("whole", 4), ("each", 2)]
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last) == json.loads(out.read_text())["claims"]
    assert main(["--url", "http://model", "--model", "nobody"]) == 2
    assert "does not serve 'nobody'" in capsys.readouterr().err
