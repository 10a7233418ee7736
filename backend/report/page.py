"""The report as one HTML page: figures in, text out.

Pure. Everything that people or models wrote is escaped; nothing is loaded from elsewhere, but the pictures where `src`
says they are. Knows no database and no web server.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from backend.report.figures import Example, Figures
from backend.report.plots import Point, Series, curve, reliability_plot, stacked_bars
from backend.report.style import CSS

__all__ = ["diff", "document", "page"]

KINDS = ("accepted", "edited", "cleared", "added", "discarded")
_SHOWN_VERSIONS = 5
_NOTHING = '<p class="dim">Nothing yet.</p>'

Src = Callable[[Example], str | None]


def page(figures: Figures, jobs: Sequence[Mapping[str, Any]], src: Src) -> str:
    """The whole page. `jobs` as `regiontext jobs` tells them; `src` is where an example's picture is, None for none."""
    parts = [
        _head(figures),
        _section("Outcomes over time", _outcomes(figures)),
        _section("Acceptance by model version", _acceptance(figures)),
        _section("Learning curve over rounds", _rounds(figures)),
        _section("Effect of pre-filling", _arms(figures)),
        _section("Do annotators agree?", _annotators(figures)),
        _section("Can the confidence be believed?", _calibration(figures)),
        _section("What the model saw", _gallery(figures, src)),
        _section("Runs and verdicts", _runs(figures)),
        _section("What was served when", _changes(figures)),
        _section("Queue and jobs", _jobs(figures, jobs)),
    ]
    return document("regiontext report", "".join(parts))


def document(title: str, body: str) -> str:
    """An HTML document with the report's look around `body`, which is HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>{body}</main></body></html>\n"
    )


def diff(before: str, after: str) -> str:
    """`before` with what was taken out and put in to make `after`, word by word, as escaped HTML."""
    old, new = before.split(), after.split()
    parts = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        left, right = escape(" ".join(old[a:b])), escape(" ".join(new[c:d]))
        if tag == "equal":
            parts.append(left)
            continue
        if left:
            parts.append(f"<del>{left}</del>")
        if right:
            parts.append(f"<ins>{right}</ins>")
    return " ".join(parts)


def _head(f: Figures) -> str:
    now = f.now
    cards = [
        ("served now", f.model or "no model yet"),
        ("served before", (now.previous or now.base) if now and now.champion else "–"),
        ("suggestions", f"{f.suggestions:,}"),
        ("texts people left or judged", f"{f.texts:,}"),
    ]
    if now and now.challenger:
        cards.append((f"challenger, asked {now.share:.0%} unseen", now.challenger))
    shown = "".join(
        f'<div class="card"><span class="dim">{escape(what)}</span><b>{escape(value)}</b></div>'
        for what, value in cards
    )
    made = f"{f.made:%Y-%m-%d %H:%M} UTC"
    return f'<h1>regiontext</h1><p class="dim">as of {made}</p><div class="cards">{shown}</div>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body or _NOTHING}</section>"


def _outcomes(f: Figures) -> str:
    if not f.periods:
        return ""
    series = [Series(k, tuple(p.outcomes.get(k, 0) for p in f.periods)) for k in KINDS]
    title = f"fields per {'week' if f.weekly else 'day'}, by what people made of them"
    return stacked_bars([p.start for p in f.periods], series, title=title)


def _acceptance(f: Figures) -> str:
    """Share accepted as it was suggested, by period, of the versions with the most suggestions."""
    totals: dict[str, list[int]] = {}
    for period in f.periods:
        for version, (suggested, accepted) in period.versions.items():
            total = totals.setdefault(version, [0, 0])
            total[0] += suggested
            total[1] += accepted
    if not totals:
        return ""
    chosen = sorted(totals, key=lambda v: -totals[v][0])[:_SHOWN_VERSIONS]
    rows = [
        (v, totals[v][0], f"{totals[v][1] / totals[v][0]:.0%}")
        for v in sorted(totals, key=lambda v: -totals[v][0])
    ]
    series = [
        Series(v, tuple(p.versions.get(v, (0, 0))[1] for p in f.periods)) for v in sorted(chosen)
    ]
    plot = stacked_bars([p.start for p in f.periods], series, title="accepted, by version")
    return plot + _table(("version", "suggested and seen", "accepted as it was"), rows)


def _rounds(f: Figures) -> str:
    judged = [v for v in f.versions if isinstance(v.metrics.get("overall"), Mapping)]
    if not judged:
        return ""
    labels = [v.name.rpartition(":")[2] for v in judged]
    champion = [Point(n, float(v.metrics["champion"])) for n, v in zip(labels, judged, strict=True)]
    challenger = []
    for name, version in zip(labels, judged, strict=True):
        overall, was = version.metrics["overall"], float(version.metrics["champion"])
        ends = was + float(overall["low"]), was + float(overall["high"])
        challenger.append(Point(name, float(version.metrics["challenger"]), *ends))
    lines = [("what was served", champion), ("what the round made", challenger)]
    note = (
        '<p class="dim">Mean score on the questions that judged each round, which were never trained on; bars: the 95 '
        "% interval of the difference.</p>"
    )
    return curve(lines, title="score by round") + note


def _arms(f: Figures) -> str:
    rows = []
    for arm in f.effect.arms:
        if arm.fields:
            rows.append(
                (
                    arm.arm,
                    arm.annotations,
                    arm.regions,
                    arm.fields,
                    _average(arm.seconds, "{:.1f} s"),
                    _average(arm.edit_chars, "{:.1f}"),
                    _average(arm.untouched, "{:.0%}"),
                )
            )
    if not rows:
        return ""
    names = ("arm", "annotations", "regions", "fields", "time per region", "typed", "untouched")
    told = []
    for what, unit, found in (
        ("seconds per region", "s", f.effect.seconds),
        ("characters typed per text", "", f.effect.edit_chars),
    ):
        if found is not None:
            verdict = "a clear difference" if found.clear else "may be luck"
            told.append(
                f"<p>{what}, pre-filled less not pre-filled: <b>{found.value:+.1f} {unit}</b> "
                f"(95 % interval {found.low:+.1f} to {found.high:+.1f}; {verdict})</p>"
            )
    traps = f.effect.over_reliance
    if traps.traps:
        told.append(
            f"<p>of {traps.traps} suggestions wrong on purpose, {traps.accepted} were accepted</p>"
        )
    if not told:
        told.append(
            '<p class="dim">Assist and control are compared once both have texts and Label Studio tells times.</p>'
        )
    return _table(names, rows) + "".join(told)


def _annotators(f: Figures) -> str:
    if not f.annotators:
        return '<p class="dim">No region was answered by several people yet.</p>'
    rows = [
        (
            one.field,
            one.things,
            "–" if one.alpha is None else f"{one.alpha:.2f}",
            "–" if one.text is None else f"{one.text.cider_d:.2f}",
            "–" if one.text is None else f"{one.text.overlap:.2f}",
        )
        for one in f.annotators
    ]
    note = (
        "<p class=\"dim\">Of one region's answers one is exported and learnt from. Krippendorff's alpha: 1 is full "
        "agreement, 0 what chance gives. CIDEr-D of each text against the others: 0 to 10; overlap in meaning: 0 to "
        "1.</p>"
    )
    names = ("field", "regions", "Krippendorff's alpha", "CIDEr-D", "overlap")
    return _table(names, rows) + note


def _calibration(f: Figures) -> str:
    if not f.calibration:
        return ""
    bins = [(b.confidence, b.right, b.count) for b in f.calibration]
    total = sum(b.count for b in f.calibration)
    note = (
        f'<p class="dim">Share accepted as suggested, by the confidence told; {total} suggestions, expected '
        f"calibration error {f.ece:.3f}. On the dashed line 0.8 means that 80 % are accepted.</p>"
    )
    return reliability_plot(bins, title="confidence against acceptance") + note


def _gallery(f: Figures, src: Src) -> str:
    if not f.examples:
        return ""
    figures = []
    for one in f.examples:
        where = src(one)
        about = f"{one.field} of region {one.region}, task {one.task}"
        picture = (
            f'<img loading="lazy" alt="{escape(about)}" src="{escape(where)}">'
            if where
            else '<p class="dim">no picture: Label Studio was not asked, or has it no more</p>'
        )
        sure = f", confidence {one.confidence:.2f}" if one.confidence is not None else ""
        figures.append(
            f"<figure>{picture}<figcaption><p>{diff(one.suggested, one.final)}</p>"
            f'<p class="dim">{escape(one.outcome)}{sure} · {escape(about)}<br>{escape(one.model_version)}</p>'
            f'<details><summary class="dim">question</summary><p class="dim">{escape(one.prompt)}</p></details>'
            f"</figcaption></figure>"
        )
    return f'<div class="gallery">{"".join(figures)}</div>'


def _runs(f: Figures) -> str:
    rows = []
    for version in reversed(f.versions):
        told = version.metrics
        scores = [told.get(name) for name in ("champion", "challenger")]
        shown = [f"{s:.3f}" if isinstance(s, int | float) else "–" for s in scores]
        worse = [
            s["name"] for s in told.get("slices", ()) if isinstance(s, Mapping) and s.get("worse")
        ]
        reason = str(told.get("reason", "")) + (f" · worse: {', '.join(worse)}" if worse else "")
        rows.append(
            (version.name, version.status, f"{version.created_at:%Y-%m-%d %H:%M}", *shown, reason)
        )
    names = ("version", "state", "trained", "champion", "challenger", "verdict")
    return _table(names, rows) if rows else ""


def _changes(f: Figures) -> str:
    rows: list[tuple[object, ...]] = [
        (f"{c.at:%Y-%m-%d %H:%M}", c.action, c.name or c.base, c.before or c.base, c.reason)
        for c in f.changes
    ]
    table = _table(("when", "what", "served from then on", "before", "why"), rows) if rows else ""
    for one in f.agreement:
        table += (
            f"<p>{escape(one.challenger)} was asked {one.asked} questions unseen and agreed with what was served in "
            f"<b>{one.agreed / one.asked:.0%}</b></p>"
        )
    return table


def _jobs(f: Figures, jobs: Sequence[Mapping[str, Any]]) -> str:
    told = [f"<p>{f.waiting} events of Label Studio wait to be worked off</p>"]
    for project, tasks in sorted(f.stale.items()):
        told.append(
            f"<p>project {project}: {tasks} tasks hold predictions of other versions only; "
            f"<code>regiontext prelabel --project {project}</code> renews them</p>"
        )
    rows = [
        (
            job.get("id", ""),
            job.get("kind", ""),
            "all" if job.get("project") is None else job["project"],
            " ".join(filter(None, (job.get("state"), job.get("doing")))),
            f"{job.get('done', 0)} of {job.get('total') if job.get('total') is not None else '?'}",
            job.get("failed") or "",
            f"{job['eta_s']:.0f} s" if job.get("eta_s") is not None else "",
        )
        for job in jobs
    ]
    if rows:
        told.append(_table(("job", "kind", "project", "state", "done", "failed", "left"), rows))
    return "".join(told)


def _average(found: Any, form: str) -> str:
    if found is None:
        return "–"
    ends = (form.format(found.low), form.format(found.high))
    return f"{form.format(found.value)} ({ends[0]} to {ends[1]})"


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
