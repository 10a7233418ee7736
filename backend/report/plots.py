"""Small plots as inline SVG: stacked bars, lines with intervals, the reliability curve.

Pure: numbers in, SVG text out, the same for the same numbers. Colours are the page's CSS classes, so that plots follow
its light and dark. All words are escaped. Knows nothing of what is plotted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Point", "Series", "curve", "reliability_plot", "stacked_bars"]

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 34
COLOURS = 6
"""How many classes of colour there are: s0 … s5."""


@dataclass(frozen=True)
class Series:
    """One colour of a stacked bar plot: a value per bar."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """One value of a line with its interval; `low` and `high` None: without."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


def stacked_bars(labels: Sequence[str], series: Sequence[Series], *, title: str) -> str:
    """Bars side by side, each the sum of its series from below; counts on the axis.

    Raises ValueError if a series has not one value per label.
    """
    for one in series:
        if len(one.values) != len(labels):
            raise ValueError(f"{one.name!r} has {len(one.values)} values for {len(labels)} bars")
    top = max((sum(one.values[i] for one in series) for i in range(len(labels))), default=0) or 1
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(labels))
    parts = _axis(top, whole=True)
    for index, label in enumerate(labels):
        below = 0.0
        x = _LEFT + step * index + step * 0.12
        for number, one in enumerate(series):
            value = one.values[index]
            if value <= 0:
                continue
            y, height = _y(below + value, top), _y(below, top) - _y(below + value, top)
            below += value
            told = f"{label}: {value:g} {one.name}"
            parts.append(
                f'<rect class="s{number % COLOURS}" x="{x:.1f}" y="{y:.1f}" width="{step * 0.76:.1f}" '
                f'height="{height:.1f}"><title>{escape(told)}</title></rect>'
            )
    parts += _labels(labels, [_LEFT + step * (i + 0.5) for i in range(len(labels))])
    return _svg(parts, title) + _legend([one.name for one in series])


def curve(lines: Sequence[tuple[str, Sequence[Point]]], *, title: str, top: float = 1.0) -> str:
    """Lines over the same labels (those of the first line), with intervals as bars; values in [0, top]."""
    labels = [point.label for point in lines[0][1]] if lines else []
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(labels))
    parts = _axis(top)
    for number, (name, points) in enumerate(lines):
        places = [(_LEFT + step * (i + 0.5), p) for i, p in enumerate(points)]
        path = " ".join(f"{x:.1f},{_y(p.value, top):.1f}" for x, p in places)
        parts.append(f'<polyline class="l{number % COLOURS}" points="{path}"/>')
        for x, point in places:
            if point.low is not None and point.high is not None:
                a, b = _y(point.low, top), _y(point.high, top)
                parts.append(
                    f'<line class="l{number % COLOURS} thin" x1="{x:.1f}" x2="{x:.1f}" y1="{a:.1f}" y2="{b:.1f}"/>'
                )
            told = f"{point.label}: {name} {point.value:.3f}"
            if point.low is not None and point.high is not None:
                told += f" ({point.low:.3f} to {point.high:.3f})"
            parts.append(
                f'<circle class="s{number % COLOURS}" cx="{x:.1f}" cy="{_y(point.value, top):.1f}" r="4">'
                f"<title>{escape(told)}</title></circle>"
            )
    parts += _labels(labels, [_LEFT + step * (i + 0.5) for i in range(len(labels))])
    return _svg(parts, title) + _legend([name for name, _ in lines])


def reliability_plot(bins: Sequence[tuple[float, float, int]], *, title: str) -> str:
    """(mean confidence, share accepted, how many) per bin, beside the diagonal of a calibrated model.

    The area of a dot is the number of answers behind it.
    """
    parts = _axis(1.0)
    wide = _WIDTH - _LEFT - _RIGHT
    parts.append(
        f'<line class="guide" x1="{_LEFT}" y1="{_y(0, 1):.1f}" x2="{_WIDTH - _RIGHT}" y2="{_y(1, 1):.1f}"/>'
    )
    most = max((count for _, _, count in bins), default=1)
    points = [(_LEFT + wide * confidence, _y(share, 1)) for confidence, share, _ in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline class="l0" points="{path}"/>')
    for (x, y), (confidence, share, count) in zip(points, bins, strict=True):
        radius = 3 + 8 * (count / most) ** 0.5
        told = f"confidence {confidence:.2f}: {share:.0%} of {count} accepted"
        parts.append(
            f'<circle class="s0" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(told)}</title></circle>'
        )
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    parts += _labels([f"{tick:g}" for tick in ticks], [_LEFT + wide * tick for tick in ticks])
    return _svg(parts, title)


def _svg(parts: Sequence[str], title: str) -> str:
    inside = "".join(parts)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{inside}</svg>"
    )


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(value / top, 0.0), 1.0)


def _axis(top: float, *, whole: bool = False) -> list[str]:
    parts = []
    for part in range(5):
        value = top * part / 4
        if whole and top >= 4:
            value = round(value)
        y = _y(value, top)
        shown = f"{value:g}" if not whole else f"{value:.0f}" if top >= 4 else f"{value:.1f}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
        )
    return parts


def _labels(labels: Sequence[str], places: Sequence[float]) -> list[str]:
    """As many labels as have room, evenly."""
    every = max(1, -(-len(labels) // 8))
    y = _HEIGHT - _BOTTOM + 18
    return [
        f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{escape(label)}</text>'
        for index, (label, x) in enumerate(zip(labels, places, strict=True))
        if index % every == 0
    ]


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<li><span class="key k{number % COLOURS}"></span>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'
