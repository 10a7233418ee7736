from __future__ import annotations

from backend.jobs.gate import Judged, decide
from backend.report.verdict import Pair, verdict_page


def test_the_page_shows_both_answers_and_every_slice() -> None:
    judged = [
        Judged(0, 1, "caption", ("<Car>",), str(n), slices=("size small",)) for n in range(20)
    ]
    pair = Pair(
        "verdict/00.png", "What?", "a red car", "a blue car", "a red car", (0.3, 1.0), ("x",)
    )
    html = verdict_page("mini:0002", "mini:0001", decide(judged), [pair])
    assert '<p class="yes"><b>promoted</b>' in html
    assert "label &#x27;&lt;Car&gt;&#x27;" in html
    assert "a <del>blue</del> <ins>red</ins> car" in html
    assert "+0.70" in html
    assert 'src="verdict/00.png"' in html
    refused = verdict_page("a", "b", decide(judged, insane=["<odd>"]), [])
    assert "not promoted" in refused
    assert "&lt;odd&gt;" in refused
