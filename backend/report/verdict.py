"""The page of a verdict: the gate's figures, and champion and challenger side by side on the same pictures.

Pure: one HTML text, everything escaped. Knows no file and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from backend.jobs.gate import Decision, Slice
from backend.report.page import diff, document

__all__ = ["Pair", "verdict_page"]


@dataclass(frozen=True)
class Pair:
    """One question with both answers. picture: where its picture is, None for none."""

    picture: str | None
    prompt: str
    truth: str
    champion: str
    challenger: str
    scores: tuple[float, float]
    slices: tuple[str, ...]


def verdict_page(name: str, champion: str, decision: Decision, pairs: Sequence[Pair]) -> str:
    """The verdict on `name` against `champion`."""
    sign = ("yes", "promoted") if decision.promote else ("no", "not promoted")
    rows = [_row(Slice("all", decision.overall))] + [_row(part) for part in decision.slices]
    figures = (
        '<div class="wide"><table><thead><tr><th>slice</th><th>questions</th><th>difference</th>'
        "<th>interval</th><th>level</th><th>clearly worse</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    body = (
        f"<h1>{escape(name)} against {escape(champion)}</h1>"
        f'<p class="{sign[0]}"><b>{sign[1]}</b>: {escape(decision.reason)}</p>'
        f'<div class="cards"><div class="card">{escape(champion)}<b>{decision.champion:.3f}</b></div>'
        f'<div class="card">{escape(name)}<b>{decision.challenger:.3f}</b></div>'
        f'<div class="card">as much by luck<b>{decision.luck:.2%}</b></div></div>'
        f"<h2>Where it is better and worse</h2>{figures}"
        f'<p class="dim">Resampled: whole {escape(decision.unit)}s. Slices have wider intervals, for their number.</p>'
        f'<h2>Side by side</h2><div class="gallery">{"".join(map(_figure, pairs))}</div>'
    )
    return document(f"verdict on {name}", body)


def _row(part: Slice) -> str:
    d = part.difference
    cells = (
        part.name,
        d.n,
        f"{d.mean:+.3f}",
        f"{d.low:+.3f} to {d.high:+.3f}",
        f"{part.level * 100:.4g} %",
        "yes" if part.worse else "",
    )
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"


def _figure(pair: Pair) -> str:
    picture = (
        f'<img loading="lazy" alt="what both were shown" src="{escape(pair.picture)}">'
        if pair.picture
        else ""
    )
    change = pair.scores[1] - pair.scores[0]
    style = "yes" if change > 0 else "no" if change < 0 else "dim"
    return (
        f"<figure>{picture}<figcaption><p>people: <b>{escape(pair.truth)}</b></p>"
        f"<p>champion ({pair.scores[0]:.2f}): {diff(pair.champion, pair.truth)}</p>"
        f'<p>challenger ({pair.scores[1]:.2f}, <span class="{style}">{change:+.2f}</span>): '
        f"{diff(pair.challenger, pair.truth)}</p>"
        f'<p class="dim">{escape(", ".join(pair.slices))}</p>'
        f'<details><summary class="dim">question</summary><p class="dim">{escape(pair.prompt)}</p></details>'
        "</figcaption></figure>"
    )
