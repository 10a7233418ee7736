"""The data card of a dataset: README.md in plain words, with plots as SVG beside it.

Says what is in the folder, how it was chosen and split, and what the format leaves out. Counts as records stream by,
and holds no record. Knows no database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from regiontext.errors import RecordError
from regiontext.records.example import Example
from regiontext.records.formats.format import Format

__all__ = ["CARD_NAME", "Tally", "write_card"]

CARD_NAME: Final = "README.md"
PLOTS: Final = "plots"

_WORDS: Final = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
_SHARES: Final = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.01)
_MOST: Final = 20


@dataclass
class Tally:
    """Counts over records; its size depends on how many different values there are, not on the records."""

    records: int = 0
    images: Counter[str] = field(default_factory=Counter)
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {
            name: Counter()
            for name in (
                "splits",
                "fields",
                "kinds",
                "outcomes",
                "arms",
                "labels",
                "shapes",
                "annotators",
                "model_versions",
                "projects",
            )
        }
    )
    words: Counter[int] = field(default_factory=Counter)
    shares: Counter[int] = field(default_factory=Counter)
    _seen: set[int] = field(default_factory=set)

    def add(self, example: Example) -> None:
        """Count one record."""
        self.records += 1
        origin, counts = example.provenance, self.counts
        # 60 bits of the hash tell the images apart, in an eighth of the memory.
        image = int(example.image.hash[:15], 16)
        if image not in self._seen:
            self._seen.add(image)
            self.images[example.split] += 1
        counts["splits"][example.split] += 1
        counts["fields"][example.field] += 1
        counts["kinds"]["relation" if example.pair else example.kind] += 1
        counts["outcomes"][origin.outcome] += 1
        counts["arms"][origin.arm] += 1
        counts["projects"][str(origin.project)] += 1
        if origin.annotator is not None:
            counts["annotators"][str(origin.annotator)] += 1
        if origin.model_version:
            counts["model_versions"][origin.model_version] += 1
        pixels = example.image.width * example.image.height
        for region in example.regions:
            counts["shapes"][region.shape] += 1
            for label in region.labels:
                counts["labels"][label] += 1
            self.shares[_bin(region.area / pixels, _SHARES)] += 1
        if example.kind == "open":
            self.words[_bin(len(example.text.split()), _WORDS)] += 1

    def to_dict(self) -> dict[str, Any]:
        """The counts as the manifest has them."""
        return {
            "records": self.records,
            "images": self.images.total(),
            **{name: dict(sorted(count.items())) for name, count in self.counts.items()},
        }


def _bin(value: float, edges: Sequence[float]) -> int:
    return max(number for number, edge in enumerate(edges) if value >= edge)


def write_card(
    folder: Path,
    tally: Tally,
    fmt: Format,
    *,
    about: Mapping[str, str],
    left_out: Mapping[str, int],
    validation: float,
) -> None:
    """Write README.md and plots/*.svg. about: lines of the first table, e.g. model and view.

    Raises RecordError if matplotlib is not installed.
    """
    plots = _plots(folder / PLOTS, tally)
    counts = tally.counts
    lines = [
        "# Region texts",
        "",
        f"{tally.records} records on {tally.images.total()} images, as `{fmt.name}` ({fmt.about}).",
        "Written by regiontext from what annotators left in the fields of the regions they drew.",
        "",
        *_table(("", ""), list(about.items())),
        "## Splits",
        "",
        *_table(
            ("split", "images", "records"),
            [(name, tally.images[name], count) for name, count in sorted(counts["splits"].items())],
        ),
        f"A share of about {validation:g} of the images is for validation. Images are split whole, near duplicates",
        "together, by a hash of the first image of each such cluster: an image never changes its split when more data",
        "comes. Images between clusters of different splits are left out. Holdout images, and near duplicates of",
        "them, are never in a dataset.",
        "",
        "## What is in it",
        "",
    ]
    for name in ("fields", "kinds", "outcomes", "arms", "labels", "shapes", "model_versions"):
        if counts[name]:
            lines += _table((name.replace("_", " "), "count"), _most(counts[name]))
    if counts["annotators"]:
        lines += [f"Annotators: {len(counts['annotators'])}.", ""]
    lines += [line for title, name in plots for line in (f"![{title}]({PLOTS}/{name})", "")]
    lines += [
        "## What the format holds",
        "",
        f"Its own files: {fmt.holds}. Not in them, but in `records.jsonl` beside them: {fmt.lacks}.",
        "",
    ]
    if left_out:
        lines += ["## Left out", "", *_table(("reason", "count"), sorted(left_out.items()))]
    lines += [
        "`manifest.json` has the sha256 of every file, the counts, the filters and every problem, in words.",
        "",
    ]
    (folder / CARD_NAME).write_text("\n".join(lines), encoding="utf-8")


def _most(count: Counter[str]) -> list[tuple[str, int]]:
    found = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(number for _, number in found[_MOST:])
    return found[:_MOST] + ([(f"{len(found) - _MOST} others", rest)] if rest else [])


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        # What annotators and configs write must not end a cell or start HTML.
        safe = (
            " ".join(str(cell).replace("|", "\\|").replace("<", "&lt;").split()) for cell in cells
        )
        return f"| {' | '.join(safe)} |"

    return [line(head), line(["---"] * len(head)), *map(line, rows), ""]


def _plots(folder: Path, tally: Tally) -> list[tuple[str, str]]:
    """Draw the plots; their titles and files."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RecordError(
            f"the data card's plots need matplotlib ({error}): pip install matplotlib"
        ) from error
    folder.mkdir(exist_ok=True)
    drawn = []
    # Without a fixed salt and date the same data would give other bytes each time.
    with matplotlib.rc_context({"svg.hashsalt": "regiontext", "svg.fonttype": "none"}):
        for title, name, bars in (
            ("Outcomes", "outcomes.svg", _most(tally.counts["outcomes"])),
            ("Labels", "labels.svg", _most(tally.counts["labels"])),
            ("Words per text", "words.svg", _ranges(tally.words, _WORDS, "{}")),
            ("Region's share of the image", "sizes.svg", _ranges(tally.shares, _SHARES, "{:g}")),
        ):
            if not bars:
                continue
            figure = Figure(figsize=(6, 0.6 + 0.3 * len(bars)))
            axes = figure.add_subplot()
            # matplotlib takes text between dollars for formulas.
            names = [str(bar[0]).replace("$", r"\$")[:40] for bar in bars]
            places = list(range(len(bars)))
            axes.barh(places, [bar[1] for bar in bars], color="#4477aa")
            axes.set_yticks(places, names)
            axes.invert_yaxis()
            axes.set_title(title)
            axes.spines[["top", "right"]].set_visible(False)
            figure.savefig(folder / name, bbox_inches="tight", metadata={"Date": None})
            drawn.append((title, name))
    return drawn


def _ranges(count: Counter[int], edges: Sequence[float], form: str) -> list[tuple[str, int]]:
    if not count:
        return []
    names = [
        f"{form.format(edge)} to < {form.format(following)}" for edge, following in pairwise(edges)
    ] + [f"{form.format(edges[-1])} or more"]
    names = [name.replace("to < 1.01", "or more") for name in names]
    return [(names[number], count[number]) for number in range(min(count), max(count) + 1)]
