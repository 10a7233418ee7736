from __future__ import annotations

import json

import pytest

from backend.jobs.gate import RISK_SLICES, Decision, Judged, decide, score


def judged(
    champion: float,
    challenger: float,
    n: int,
    *,
    field: str = "caption",
    label: str = "Car",
    image: str | None = None,
    guard: bool = False,
    slices: tuple[str, ...] = (),
) -> list[Judged]:
    return [
        Judged(champion, challenger, field, (label,), image or f"{field}{label}{i}", guard, slices)
        for i in range(n)
    ]


def test_a_better_challenger_is_promoted() -> None:
    decision = decide([*judged(0, 1, 10), *judged(1, 1, 10, label="Tree")])
    assert decision.promote
    assert decision.reason.startswith("better")
    assert (decision.champion, decision.challenger) == (0.5, 1.0)
    assert json.loads(json.dumps(decision.to_dict()))["promote"] is True


def test_a_tie_is_rejected() -> None:
    decision = decide(judged(0.5, 0.5, 30))
    assert not decision.promote
    assert "not proved better" in decision.reason


def test_a_worse_challenger_is_rejected() -> None:
    decision = decide(judged(1, 0, 10))
    assert not decision.promote
    assert decision.reason.startswith("worse")


def test_luck_on_few_questions_is_not_proof() -> None:
    decision = decide([*judged(0, 1, 2), *judged(1, 0, 1, label="Tree"), *judged(1, 1, 5)])
    assert not decision.promote


def test_one_clearly_worse_field_vetoes() -> None:
    items = [*judged(0, 1, 60), *judged(1, 0, 6, field="colour")]
    decision = decide(items)
    assert decision.overall.better
    assert not decision.promote
    assert "field 'colour'" in decision.reason


def test_one_clearly_worse_label_vetoes() -> None:
    items = [*judged(0, 1, 60), *judged(1, 0, 6, label="Tree")]
    assert not decide(items).promote
    assert "label 'Tree'" in decide(items).reason


def test_a_slice_below_five_questions_cannot_veto() -> None:
    items = [*judged(0, 1, 60), *judged(1, 0, 4, label="Tree")]
    assert decide(items).promote


def test_guards_veto_but_never_promote() -> None:
    assert not decide([*judged(1, 1, 10), *judged(0, 1, 10, guard=True)]).promote
    forgot = decide([*judged(0, 1, 40), *judged(1, 0, 8, field="colour", guard=True)])
    assert not forgot.promote
    assert "accepted" in forgot.reason
    with pytest.raises(ValueError, match="no question"):
        decide(judged(0, 1, 10, guard=True))


def test_many_questions_about_few_images_are_few_facts() -> None:
    one = judged(0, 1, 100, image="a") + judged(1, 0, 20, image="b")
    images = [item for n in range(3) for item in judged(0.5, 0.5, 1, image=f"c{n}")]
    assert decide([*one, *images]).unit == "question"
    spread = [item for n in range(7) for item in judged(0.5, 0.5, 1, image=f"c{n}")]
    decision = decide([*one, *spread])
    assert decision.unit == "image"
    assert not decision.promote


def test_a_worse_slice_of_any_name_vetoes() -> None:
    items = [*judged(0, 1, 60), *judged(1, 0, 12, label="Tree", slices=("size small",))]
    decision = decide(items)
    assert "size small" in decision.reason
    assert {part.name for part in decision.slices if part.worse} == {"label 'Tree'", "size small"}


def test_many_slices_make_each_harder_to_blame() -> None:
    """20 questions of one label, 7 lost and 1 won, are blamed among a few slices; among thirty it may be luck."""
    tree = [*judged(1, 0, 7, label="Tree"), *judged(0, 1, 1, label="Tree", image="won")]
    tree += [item for n in range(12) for item in judged(1, 1, 1, label="Tree", image=f"same{n}")]
    few = decide([*judged(0, 1, 60), *tree])
    many = [judged(0, 1, 6, label=f"label {n}") for n in range(30)]
    plenty = decide([*(item for part in many for item in part), *tree])
    assert {part.level for part in plenty.slices} == {1 - 2 * RISK_SLICES / len(plenty.slices)}

    def blamed(decision: Decision) -> bool:
        return next(part.worse for part in decision.slices if part.name == "label 'Tree'")

    assert blamed(few)
    assert not blamed(plenty)


def test_four_wins_of_thirty_are_luck_where_a_bootstrap_alone_says_better() -> None:
    decision = decide([*judged(0, 1, 4), *judged(1, 1, 16, label="Tree")])
    assert decision.overall.better
    assert not decision.promote
    assert "luck" in decision.reason


def test_what_is_insane_is_not_promoted_however_good() -> None:
    decision = decide(judged(0, 1, 60), insane=["4 of 60 answers are empty"])
    assert not decision.promote
    assert decision.reason.endswith("4 of 60 answers are empty")


def test_the_same_scores_give_the_same_decision() -> None:
    items = judged(0, 1, 7) + judged(1, 0, 3, label="Tree") + judged(0, 0.4, 9, field="colour")
    assert decide(items) == decide(items)


@pytest.mark.parametrize(
    ("answer", "truth", "closed", "expected"),
    [
        ("clear", ["clear"], True, 1.0),
        ("occluded", ["clear"], True, 0.0),
        ("b, a", ["a", "b"], True, 1.0),
        ("a", ["a", "b"], True, 0.0),
        ("A large red star.", ["a large red star"], False, 1.0),
        ("small red star", ["large red star"], False, (0 + 2 / 3) / 2),
        ("", ["star"], False, 0.0),
        ("A car. It is parked.", ["A car.", "It is parked."], False, 1.0),
    ],
)
def test_score(answer: str, truth: list[str], closed: bool, expected: float) -> None:
    assert score(answer, truth, closed=closed) == pytest.approx(expected)
