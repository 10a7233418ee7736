"""Relations between the regions of one image: arrows with labels, and sentences.

The config's relations make a closed question per ordered pair; a whole-image text area for relations makes an open
one, asked of the pairs found related (or, without relations in the config, of the nearest ones). For a model too small
to phrase a pair, the sentence is put together from the captions and the relation. Knows nothing of results on their way
to Label Studio beyond merging lines of text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backend.assistant import Answered, Assistant, Path, Picture, Suggestion, answer
from backend.failures import Failure
from regiontext.claims import check_claim
from regiontext.labelstudio.config import LabelingConfig
from regiontext.questions.question import Question
from regiontext.questions.sentences import composed_sentence
from regiontext.questions.templates import (
    NO_RELATION,
    candidate_pairs,
    pair_questions,
    relation_sentence_question,
)
from regiontext.region import Region

__all__ = ["ARROW", "Related", "merged_lines", "relate"]

_log = logging.getLogger(__name__)

ARROW = "arrow"
"""Key in the decoding of a relation that the assistant in the page told of: "offered", "drawn" once its arrow is there.

Relations of other live calls were never arrows on a screen: they are text.
"""


@dataclass(frozen=True)
class Related:
    """arrows, sentences: the suggestions, of pairs that are related. failures: as in Answered."""

    arrows: list[Suggestion] = field(default_factory=list)
    sentences: list[Suggestion] = field(default_factory=list)
    failures: dict[tuple[tuple[str, ...], str], Failure] = field(default_factory=dict)


async def relate(
    assistant: Assistant,
    picture: Picture,
    *,
    project: int,
    task: int,
    regions: Sequence[Region],
    config: LabelingConfig,
    path: Path,
    max_pairs: int,
    without: frozenset[frozenset[str]] = frozenset(),
    captions: Mapping[str, str] | None = None,
    deadline: float | None = None,
) -> Related:
    """Ask how the regions of one image relate; at most `max_pairs` ordered pairs, the nearest first.

    without: pairs (as sets of ids) that are related already and not asked about.
    captions: what is known of each region, from which the sentences are composed; None: the model is asked for them.
    See `answer` for deadline and failures.
    """

    async def ask(questions: Sequence[Question]) -> Answered:
        return await answer(
            assistant,
            picture,
            project=project,
            task=task,
            regions=regions,
            config=config,
            questions=questions,
            path=path,
            deadline=deadline,
        )

    by_id = {region.id: region for region in regions}
    related = Related()

    async def borne_out(
        suggestions: Sequence[Suggestion], contradicts: Callable[[str, Region, Region], bool]
    ) -> list[Suggestion]:
        """Those that the drawn regions do not contradict ("left of" of what lies right); the others are counted."""
        kept = await asyncio.to_thread(
            lambda: [
                s
                for s in suggestions
                if not contradicts(s.value[0], by_id[s.region], by_id[str(s.region_to)])
            ]
        )
        for suggestion in suggestions:
            if suggestion not in kept:
                assistant.metrics.question(path, "contradicted")
                _log.info(
                    "a relation that the regions contradict is left out",
                    extra={"task": task, "said": suggestion.value[0][:200]},
                )
        return kept

    closed = [
        question
        for question in pair_questions(config, regions, max_pairs=max_pairs)
        if frozenset(question.region_ids) not in without
    ]
    if config.relations:
        found = await ask(closed)
        related.failures.update(found.failures)
        # Before one way is chosen, or the way that is right may have gone.
        related.arrows.extend(_one_way(await borne_out(found.suggestions, _contradicts)))
        pairs = [(by_id[s.region], by_id[str(s.region_to)]) for s in related.arrows]
    else:
        pairs = _each_once(candidate_pairs(config, regions, max_pairs=2 * max_pairs))[:max_pairs]
    written_to = config.relation_field
    if written_to is not None and captions is not None:
        related.sentences.extend(_composed(related.arrows, captions, written_to.name))
    elif written_to is not None and pairs:
        found = await ask([relation_sentence_question(pair, written_to) for pair in pairs])
        related.failures.update(found.failures)
        related.sentences.extend(await borne_out(found.suggestions, _contradicts_either_way))
    return related


def merged_lines(human: Sequence[str], ours: Sequence[str]) -> list[str]:
    """What stands there, then those of our lines that do not stand there yet (compared without case and spacing)."""
    lines = list(human)
    seen = {_plain(line) for line in lines}
    for line in ours:
        if _plain(line) not in seen:
            seen.add(_plain(line))
            lines.append(line)
    return lines


def _one_way(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    """Those that name a relation, the surer one of two that name the same relation both ways."""
    kept: dict[tuple[frozenset[str | None], str], Suggestion] = {}
    for suggestion in suggestions:
        label = suggestion.value[0]
        if label == NO_RELATION:
            continue
        key = (frozenset((suggestion.region, suggestion.region_to)), label)
        other = kept.get(key)
        if other is None or (suggestion.confidence or 0.0) > (other.confidence or 0.0):
            kept[key] = suggestion
    return list(kept.values())


def _contradicts(claim: str, subject: Region, target: Region) -> bool:
    return check_claim(claim, subject, target) == "contradicted"


def _contradicts_either_way(sentence: str, subject: Region, target: Region) -> bool:
    """As `_contradicts`; but a sentence may begin with the object, and is right then if it is right that way round."""
    one_way = _contradicts(sentence, subject, target)
    return one_way and check_claim(sentence, target, subject) != "holds"


def _composed(
    arrows: Sequence[Suggestion], captions: Mapping[str, str], name: str
) -> list[Suggestion]:
    """A sentence per arrow whose ends both have a caption; its provenance is the arrow's."""
    written = []
    for arrow in arrows:
        subject, object = captions.get(arrow.region, ""), captions.get(str(arrow.region_to), "")
        if sentence := composed_sentence(subject, arrow.value[0], object):
            written.append(replace(arrow, field=name, value=(sentence,)))
    return written


def _each_once(pairs: Sequence[tuple[Region, Region]]) -> list[tuple[Region, Region]]:
    seen: dict[frozenset[str], tuple[Region, Region]] = {}
    for pair in pairs:
        seen.setdefault(frozenset((pair[0].id, pair[1].id)), pair)
    return list(seen.values())


def _plain(line: str) -> str:
    return " ".join(line.split()).casefold()
