"""Everything that is told about a model's answers, from the answers and the right ones alone.

One entry point, `score`. Knows nothing of models, records or files.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

from regiontext.metrics.bootstrap import paired_bootstrap
from regiontext.metrics.cider import caption_words, cider_d
from regiontext.metrics.overlap import (
    bleu,
    chrf,
    corpus_bleu,
    corpus_chrf,
    rouge_l,
    semantic_overlap,
    word_iou,
)
from regiontext.metrics.text import exact_match, word_f1

__all__ = ["Kind", "score"]

Kind = Literal["open", "closed", "relation"]


def score(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    kinds: Sequence[Kind] | None = None,
    fields: Sequence[str] | None = None,
    groups: Sequence[Hashable] | None = None,
    samples: int = 2_000,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures about `predictions[i]`, where any of `references[i]` is right, as JSON values.

    kinds: what each answer is to (default: all open). fields: the name of the field that each fills. groups: what
    rises and falls together, such as the image of each; then intervals come from resampling groups. Of three parts,
    those that occur:

    * "open": exact, word_f1, semantic_iou (Osprey's), semantic_overlap, rouge_l, bleu, chrf, cider_d (0..10, rarity
      counted over the references given); corpus_bleu and corpus_chrf over all texts at once; length: mean words of
      both and their ratio; empty: the share of answers that are blank. "fields": exact per field.
    * "closed": accuracy, empty, and "fields": accuracy per field, which is accuracy per attribute.
    * "relation": accuracy, empty, and "labels": accuracy per right label.

    Figures that are means are {"value", "low", "high", "n"} with a 95 % interval by `paired_bootstrap`, of 0..1 unless
    told; those about several references take the best, CIDEr-D their mean. Raises ValueError for lists of different
    lengths, no answers at all, an answer without reference or an unknown kind.
    """
    _check(predictions, references, kinds, fields, groups)
    sorts = kinds or ["open"] * len(predictions)
    tell = _Teller(groups or range(len(predictions)), samples, seed)
    told: dict[str, Any] = {"n": len(predictions)}
    for kind, part in (("open", _open), ("closed", _closed), ("relation", _relation)):
        places = [place for place, sort in enumerate(sorts) if sort == kind]
        if places:
            said = [predictions[place] for place in places]
            truth = [references[place] for place in places]
            names = [fields[place] for place in places] if fields else []
            told[kind] = {"n": len(places), **part(tell.among(places), said, truth, names)}
    return told


class _Teller:
    """Means with their intervals, over the same resampling of the same groups."""

    def __init__(self, groups: Sequence[Hashable], samples: int, seed: int) -> None:
        self._groups, self._samples, self._seed = groups, samples, seed

    def among(self, places: Sequence[int]) -> _Teller:
        return _Teller([self._groups[place] for place in places], self._samples, self._seed)

    def mean(self, values: Sequence[float]) -> dict[str, float]:
        found = paired_bootstrap(
            [0.0] * len(values),
            values,
            samples=self._samples,
            seed=self._seed,
            groups=self._groups,
        )
        return {"value": found.mean, "low": found.low, "high": found.high, "n": found.n}

    def by(self, names: Sequence[str], values: Sequence[float]) -> dict[str, dict[str, float]]:
        found = {}
        for name in sorted(set(names)):
            places = [place for place, each in enumerate(names) if each == name]
            found[name] = self.among(places).mean([values[place] for place in places])
        return found


_Part = Callable[[str, Sequence[str]], float]


def _best(figure: Callable[[str, str], float]) -> _Part:
    return lambda said, truth: max(figure(said, text) for text in truth)


_OPEN: dict[str, _Part] = {
    "exact": _best(exact_match),
    "word_f1": _best(word_f1),
    "semantic_iou": _best(word_iou),
    "semantic_overlap": _best(semantic_overlap),
    "rouge_l": rouge_l,
    "bleu": bleu,
    "chrf": chrf,
}


def _open(
    tell: _Teller, said: Sequence[str], truth: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, Any]:
    values = {
        name: [figure(text, texts) for text, texts in zip(said, truth, strict=True)]
        for name, figure in _OPEN.items()
    }
    told: dict[str, Any] = {name: tell.mean(found) for name, found in values.items()}
    told["cider_d"] = tell.mean(cider_d(said, truth))
    told["corpus_bleu"] = corpus_bleu(said, truth)
    told["corpus_chrf"] = corpus_chrf(said, truth)
    told["length"] = _length(said, truth)
    told["empty"] = tell.mean(_empties(said))
    if names:
        told["fields"] = tell.by(names, values["exact"])
    return told


def _closed(
    tell: _Teller, said: Sequence[str], truth: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, Any]:
    right = _right(said, truth)
    told: dict[str, Any] = {"accuracy": tell.mean(right), "empty": tell.mean(_empties(said))}
    if names:
        told["fields"] = tell.by(names, right)
    return told


def _relation(
    tell: _Teller, said: Sequence[str], truth: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, Any]:
    right = _right(said, truth)
    return {
        "accuracy": tell.mean(right),
        "empty": tell.mean(_empties(said)),
        "labels": tell.by([texts[0] for texts in truth], right),
    }


def _right(said: Sequence[str], truth: Sequence[Sequence[str]]) -> list[float]:
    return [
        max(exact_match(text, other) for other in texts)
        for text, texts in zip(said, truth, strict=True)
    ]


def _empties(said: Sequence[str]) -> list[float]:
    return [float(not text.strip()) for text in said]


def _length(said: Sequence[str], truth: Sequence[Sequence[str]]) -> dict[str, float]:
    mine = sum(len(caption_words(text)) for text in said) / len(said)
    theirs = sum(
        sum(len(caption_words(text)) for text in texts) / len(texts) for texts in truth
    ) / len(truth)
    return {"words": mine, "reference_words": theirs, "ratio": mine / theirs if theirs else 0.0}


def _check(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    kinds: Sequence[Kind] | None,
    fields: Sequence[str] | None,
    groups: Sequence[Hashable] | None,
) -> None:
    n = len(predictions)
    if not n:
        raise ValueError("there are no answers to score")
    for name, given in (
        ("references", references),
        ("kinds", kinds),
        ("fields", fields),
        ("groups", groups),
    ):
        if given is not None and len(given) != n:
            raise ValueError(f"{n} predictions but {len(given)} {name}; give one each")
    for place, texts in enumerate(references):
        if isinstance(texts, str) or not texts:
            raise ValueError(
                f"references[{place}] is {texts!r}; give a list of at least one text, such as "
                '["a red car"]'
            )
    unknown = sorted(set(kinds or ()) - {"open", "closed", "relation"})
    if unknown:
        raise ValueError(f"unknown kinds {unknown}; they are open, closed and relation")
