from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from PIL import Image
from sqlalchemy import inspect
from typer.testing import CliRunner

from backend.cli.app import app
from backend.report.figures import figures
from backend.report.page import diff, page
from backend.report.plots import Point, Series, curve, reliability_plot, stacked_bars
from backend.report.seen import kept, seen_folder
from backend.settings import Settings
from backend.store import AnnotationRow, OutcomeRow, Store, open_store
from tests.backend.conftest import SetStage
from tests.backend.report.sample import HOSTILE, seed


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data_dir=tmp_path, database_url=database_url, _env_file=None)


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    seed(opened, tmp_path)
    yield opened
    opened.close()


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [
            v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:")
        ]


def test_the_figures_are_the_stores(store: Store, settings: Settings) -> None:
    found = figures(settings, store)
    assert found.model == "mini:0001"
    assert found.now is not None
    assert (found.now.previous, found.now.challenger, found.now.share) == (None, "mini:0002", 0.2)
    assert found.texts == 60
    assert sum(sum(p.outcomes.values()) for p in found.periods) == 60
    suggested = sum(n for p in found.periods for n, _ in p.versions.values())
    assert suggested == found.suggestions == sum(b.count for b in found.calibration)
    # The sample accepts a suggestion as often as its confidence says.
    assert found.ece is not None
    assert found.ece < 0.35
    assert {e.outcome for e in found.examples[:2]} == {"edited", "accepted"}
    assert [(a.asked, a.agreed) for a in found.agreement] == [(1, 1)]
    assert found.stale[1] > 0


def test_how_far_annotators_agree(store: Store, settings: Settings) -> None:
    assert figures(settings, store).annotators == ()
    assert "No region was answered by several people" in page(figures(settings, store), [], _none)
    with store.begin() as session:
        for task in (2, 4):
            first = session.get(OutcomeRow, (task, "r1", "caption"))
            same = {c.key: getattr(first, c.key) for c in inspect(OutcomeRow).columns}
            known = session.get(AnnotationRow, task)
            other = {c.key: getattr(known, c.key) for c in inspect(AnnotationRow).columns}
            session.add(AnnotationRow(**other | {"id": 1000 + task, "completed_by": 2}))
            session.flush()
            session.add(OutcomeRow(**same | {"annotation": 1000 + task, "annotator": 2}))
    (found,) = figures(settings, store).annotators
    assert (found.field, found.closed, found.things) == ("caption", False, 2)
    assert found.text is not None
    assert found.text.overlap == 1.0
    html = page(figures(settings, store), [], _none)
    assert "<tr><td>caption</td><td>2</td><td>–</td>" in html


def _none(_example: object) -> None:
    return None


def test_one_page_with_everything_and_nothing_from_elsewhere(
    store: Store, settings: Settings
) -> None:
    job = {
        "id": "j<1>",
        "kind": "prelabel",
        "project": 1,
        "state": "running",
        "done": 3,
        "total": 9,
    }
    html = page(figures(settings, store), [job], lambda one: None)
    for words in ("Outcomes over time", "Learning curve", "Effect of pre-filling", "Runs and verdicts",
                  "not proved better", "label &#x27;Tree&#x27;", "j&lt;1&gt;", "3 of 9", "mini:0002 was asked 1",
                  "regiontext prelabel --project 1"):  # fmt: skip
        assert words in html, words
    assert "<script" not in html
    assert "alert(&quot;x&quot;)" in html
    read = Tags(html)
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert read.outside == []
    assert len(html) < 200_000
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        ElementTree.fromstring(svg)


def test_a_store_without_anything_has_a_report(tmp_path: Path, settings: Settings) -> None:
    empty = open_store(f"sqlite:///{tmp_path}/empty.db")
    try:
        html = page(figures(settings, empty), [], lambda one: None)
    finally:
        empty.close()
    assert html.count("Nothing yet.") >= 6


def test_a_diff_is_by_words_and_escaped() -> None:
    assert diff("a blue bus", "a red bus") == "a <del>blue</del> <ins>red</ins> bus"
    assert diff("same", "same") == "same"
    assert diff("", HOSTILE).startswith("<ins>&lt;script&gt;")
    assert diff("<b>", "") == "<del>&lt;b&gt;</del>"


def test_plots_are_well_formed_and_of_their_numbers() -> None:
    bars = stacked_bars(["<x>", "b"], [Series("n&m", (3, 1)), Series("o", (1, 0))], title="t<")
    svg = ElementTree.fromstring(bars.partition("<ul")[0])
    rects = [node for node in svg.iter("rect")]
    heights = [float(r.attrib["height"]) for r in rects]
    assert len(rects) == 3
    assert heights[0] == pytest.approx(3 * heights[2], rel=0.02)
    assert "<x>" not in bars
    line = curve([("a", [Point("1", 0.5, 0.4, 0.7)]), ("b", [Point("1", 2.0)])], title="t")
    ElementTree.fromstring(line.partition("<ul")[0])
    dots = reliability_plot([(0.1, 0.2, 5), (0.9, 0.8, 20)], title="t")
    assert dots.count("<circle") == 2
    assert stacked_bars([], [], title="none").startswith("<svg")
    with pytest.raises(ValueError, match="2 values for 1"):
        stacked_bars(["a"], [Series("s", (1, 2))], title="t")


def test_the_page_needs_the_key(set_stage: SetStage, tmp_path: Path) -> None:
    stage = set_stage(basic_auth_user="u", basic_auth_password="p")
    assert stage.http.get("/report").status_code == 401
    found = stage.http.get("/report", auth=("u", "p"))
    assert found.status_code == 200
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]
    assert stage.http.get("/report/seen/x.png").status_code == 401
    assert stage.http.get("/report/seen/x.png", auth=("u", "p")).status_code == 404
    assert stage.http.get("/report/seen/..%2Fx.png", auth=("u", "p")).status_code == 404
    folder = seen_folder(stage.settings)
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "abc.png")
    (folder / "abc.json").write_text('{"exact": true, "why": ""}')
    assert kept(stage.settings, "abc") is not None
    png = stage.http.get("/report/seen/abc.png", auth=("u", "p"))
    assert (png.status_code, png.headers["Content-Type"]) == (200, "image/png")


def test_without_a_key_only_this_machine_reads_it(set_stage: SetStage) -> None:
    stage = set_stage()
    refused = stage.http.get("/report")
    assert refused.status_code == 403
    assert "REGIONTEXT_BASIC_AUTH_USER" in refused.json()["detail"]


def test_the_file_is_written_without_a_backend(
    store: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: Any, **named: Any) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(httpx, "get", away)
    monkeypatch.setenv("REGIONTEXT_DATABASE_URL", str(settings.database_url))
    out = tmp_path / "new" / "report.html"
    said = CliRunner().invoke(app, ["report", "--out", str(out), "--data-dir", str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert out.read_text().startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
