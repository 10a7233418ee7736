"""Which clicks belong together to one mask, and what a mask notes of them."""

from __future__ import annotations

from typing import Any

import pytest

from backend.clicks import CLICKS, Click, ClickBook, clicks_of, noted_clicks

PAGE = (1, 2, "a@b.c")


def join(book: ClickBook, click: Click, *waiting: str, page: Any = PAGE, now: float = 0.0) -> Any:
    return book.joined(
        page, click, 0, waiting=frozenset(waiting), settled=lambda _: False,
        under=lambda _: None, now=now,
    )  # fmt: skip


def test_a_click_before_the_first_answer_means_another_thing() -> None:
    book = ClickBook()
    one = join(book, Click("a", 0.1, 0.1, True), "a")
    two = join(book, Click("b", 0.2, 0.2, True), "a", "b")
    assert one.id != two.id
    book.answered(PAGE, one, [{"id": one.id}], now=0)
    assert join(book, Click("c", 0.3, 0.3, True), "a", "b", "c").id == one.id
    minus = join(book, Click("d", 0.2, 0.3, False), "a", "b", "c", "d")
    assert minus.id == one.id and [c.id for c in minus.clicks] == ["a", "c", "d"]


def test_an_answer_that_a_click_overtook_is_not_noted() -> None:
    book = ClickBook()
    one = join(book, Click("a", 0.1, 0.1, True), "a")
    join(book, Click("b", 0.2, 0.2, False), "a", "b")
    book.answered(PAGE, one, [{"id": one.id}], now=0)
    assert book.masks(PAGE)[-1].changed and not book.masks(PAGE)[-1].results


def test_masks_stay_on_their_page_and_are_forgotten_in_the_end() -> None:
    book = ClickBook()
    one = join(book, Click("a", 0.1, 0.1, True), "a", page=(1, 2, None))
    book.answered((1, 2, None), one, [{"id": one.id}], now=0)
    minus = Click("b", 0.2, 0.2, False)
    assert join(book, minus, "b", page=(1, 3, None)) is None
    assert join(book, minus, "b", page=(1, 2, "someone"), now=100) is None
    assert join(book, minus, "b", page=(1, 2, "someone"), now=10).id == one.id
    for number in range(300):
        join(book, Click(f"n{number}", 0.1, 0.1, True), f"n{number}")
    assert len(book.masks(PAGE)) <= 256


@pytest.mark.parametrize(
    "meta",
    [None, {}, {CLICKS: 3}, {CLICKS: {"points": [[1]]}}, {CLICKS: {"points": [], "area": 1}}],
)
def test_meta_that_notes_no_clicks(meta: Any) -> None:
    assert clicks_of({"id": "a", "meta": meta}) is None


def test_clicks_are_noted_and_read() -> None:
    clicks = (Click("a", 0.25, 0.5, True), Click("b", 0.125, 1.0, False))
    back = clicks_of({"id": "m", "meta": {CLICKS: noted_clicks(clicks, 0.25)}})
    assert back is not None and back[1] == 0.25
    assert [(c.x, c.y, c.positive) for c in back[0]] == [(0.25, 0.5, True), (0.125, 1.0, False)]
