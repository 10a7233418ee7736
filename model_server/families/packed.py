"""Models around a Llama-like decoder, answering a batch in packed passes.

One pass reads the pictures that were not seen before, each once for all questions about it, with the words of its
first question; one reads of each question what is not known yet and, of the closed ones, all options; then the open
ones are decoded together. Rows of the base model and of any adapters share every pass. Knows nothing of queues or
HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from model_server.adapters import Adapters
from model_server.batches import Job
from model_server.decoder import Decoder, Rows
from model_server.decoding import Row, decode_packed, segments
from model_server.errors import RequestError
from model_server.families.answers import Writer, check_room
from model_server.families.chat import question_turn
from model_server.families.embedding import embedded
from model_server.families.memory import Key, Memory, Read
from model_server.families.prompts import Prompts, Ready
from model_server.families.rescue import begun_fail, prepared, together_or_alone
from model_server.jobs import Picture, Prompt, Sampling
from model_server.packing import Plan, plan
from model_server.tower import Tower

__all__ = ["PackedModel"]

_LOGITS_AT_ONCE = 512
# Tokens of all options of a question, as every pair of them takes room: in one that shares its pass, and in any.
_WIDE, _WIDEST = 1024, 8192


class PackedModel:
    """A model and its processor.

    Args:
        max_bytes: memory for what was read of pictures, so that later questions about them are cheap; by default
            256 MB, on a GPU a twentieth of its memory.
        products: the dtype of the layers' matrices, by default the model's.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        *,
        max_bytes: int | None = None,
        products: torch.dtype | None = None,
    ) -> None:
        self._model = model
        self._processor = processor
        self._decoder = Decoder(model, products=products)
        self._writer = Writer(model, processor)
        self._prompts = Prompts(processor, self._writer.ends)
        self._tower = self._own_tower(products)
        seen = self._tower.fused if self._tower else None
        head = model.get_output_embeddings()  # compiled into a step, for all rows at once
        self._adapters = Adapters(model, self._decoder.fused, seen, fixed=[head])
        self._memory = Memory(max_bytes or _memory_bytes(model.device))
        text = model.config.get_text_config()
        self.limit = int(getattr(text, "max_position_embeddings", None) or 1 << 30)
        self.counts: Counter[str] = Counter()

    @classmethod
    def fits(cls, model: PreTrainedModel, processor: ProcessorMixin) -> bool:
        """True if the language model can be packed and prompts can be cut behind their pictures."""
        if not Decoder.fits(model) or not hasattr(processor, "image_token"):
            return False
        writer = Writer(model, processor)
        return Prompts(processor, writer.ends).splits(_sample_prompt())

    def _own_tower(self, products: torch.dtype | None) -> Tower | None:
        """What sees pictures, where they are all that the tower is given; else the model's own modules do."""
        sample = self._prompts.prepare(_sample_prompt()).prefix
        plain = sample is not None and set(sample.inputs) == {"pixel_values"}
        if not plain or not Tower.fits(self._model):
            return None
        return Tower(self._model, products=products)

    def warm_up(self) -> None:
        """Answer about a grey image: the first user should not pay for first calls."""
        for _ in range(3):  # compiled code settles in its third run
            jobs = [Job(_sample_prompt(options)) for options in ((), ("yes", "no"))]
            self.forget()
            self.answer(jobs)
            for job in jobs:
                job.future.result(timeout=0)
        self.forget()
        self.counts.clear()

    def prepare(self, prompt: Prompt) -> Ready:
        """Tokens and pixels of a prompt, made in the caller's thread.

        Raises RequestError, also for a prompt that leaves no room for an answer or has more options than a pass takes.
        """
        ready = self._prompts.prepare(prompt)
        check_room(ready.length, ready.options, self.limit)
        if (count := _option_tokens(ready)) > _WIDEST:
            raise RequestError(
                f"The {len(ready.options)} options have {count} tokens together; at most {_WIDEST} are compared in one "
                "question. Offer fewer or shorter ones.",
                param="structured_outputs.choice",
                code="too_many_options",
            )
        return ready

    def group(self, job: Job) -> Hashable:
        """Everything shares a batch, but for a question with so many options that others would wait for it."""
        ready: Ready | None = job.ready
        return job if ready and _option_tokens(ready) > _WIDE else None

    def load_adapter(self, name: str, path: Path) -> None:
        """Make an adapter available; raises AdapterError."""
        self._adapters.load(name, path)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter and what was read through it."""
        self._adapters.unload(name)
        self._memory.forget_adapter(name)

    def merge(self, name: str) -> None:
        """Keep a copy of the weights with this adapter in them."""
        self._adapters.merge(name)

    def forget(self) -> None:
        """Forget what was read of pictures."""
        self._memory.forget()

    @torch.inference_mode()
    def answer(self, jobs: Sequence[Job]) -> None:
        """Resolve every job's future."""
        asked = prepared(jobs, self.prepare)
        if asked:
            asked.sort(key=lambda row: row[0].adapter or "")
            self._adapters.notice([job.adapter for job, _ in asked])
            together_or_alone(asked, self._answer)

    def _answer(self, rows: Sequence[tuple[Job, Ready]]) -> None:
        read = self._pictures(rows)
        known = [
            own.known(ready.ids) if own else 0 for own, (_, ready) in zip(read, rows, strict=True)
        ]
        starts = [own and own.up_to(count) for own, count in zip(read, known, strict=True)]
        before = [start.shape[3] if start is not None else 0 for start in starts]
        layout = plan(
            [ready.ids[count:] for count, (_, ready) in zip(known, rows, strict=True)],
            [[ids[:-1] for ids in ready.options] for _, ready in rows],
            before=before,
        )
        width = max(before)
        room = min(32, max(job.prompt.sampling.max_tokens for job, _ in rows))
        kept = self._decoder.rows(len(rows), layout.mask.shape[2] + room)
        for row, start in enumerate(starts):
            if start is not None:
                kept.kept[:, :, row, :, width - before[row] : width] = start
        names = [job.adapter for job, _ in rows]
        hidden = self._run(None, layout, kept, names, layout.read)
        closed = {row: ready.options for row, (_, ready) in enumerate(rows) if ready.options}
        for row, scores in self._scores(hidden, layout, closed).items():
            job, ready = rows[row]
            self._writer.choose(job, ready.options, scores, length=ready.length)
        opened = [row for row in range(len(rows)) if row not in closed]
        if opened:
            self._decode([rows[row] for row in opened], opened, layout, kept, hidden)

    def _decode(
        self,
        rows: Sequence[tuple[Job, Ready]],
        places: Sequence[int],
        layout: Plan,
        kept: Rows,
        hidden: Tensor,
    ) -> None:
        chosen = torch.tensor(places, device=hidden.device)
        last = self._placed(np.searchsorted(layout.read, layout.last[list(places)]))
        kept.shown[:, : layout.shown.shape[1]] = torch.from_numpy(layout.shown).to(hidden.device)
        kept.lengths = torch.from_numpy(layout.positions[layout.last] + 1).to(hidden.device)
        if len(places) < len(kept.lengths):
            kept.select(chosen)
        kept.used = int(layout.shown[list(places)].any(axis=0).nonzero()[0].max()) + 1
        made: list[Row] = [
            self._writer.row(
                job,
                length=ready.length,
                room=self.limit - ready.length,
                constraint=ready.constraint,
            )
            for job, ready in rows
        ]
        with begun_fail(made, [job for job, _ in rows]):
            decode_packed(
                self._decoder,
                made,
                kept,
                self._decoder.logits(hidden[last]),
                ends=self._writer.ends,
            )

    def _scores(
        self, hidden: Tensor, layout: Plan, closed: Mapping[int, Sequence[Sequence[int]]]
    ) -> dict[int, list[list[float]]]:
        """Log-probabilities of the tokens of every option of closed rows; `hidden` is of the tokens that are read."""
        told: list[int] = []
        tokens: list[int] = []
        for row, options in closed.items():
            for start, ids in zip(layout.branches[row], options, strict=True):
                told += [int(layout.last[row]), *range(start, start + len(ids) - 1)]
                tokens += ids
        # All options of a row begin behind the same token.
        places, each = np.unique(np.searchsorted(layout.read, told), return_inverse=True)
        found = np.empty(len(tokens))
        for begin in range(0, len(places), _LOGITS_AT_ONCE):
            part = self._placed(places[begin : begin + _LOGITS_AT_ONCE])
            logprobs = torch.log_softmax(self._decoder.logits(hidden[part]), dim=-1)
            own = np.flatnonzero((each >= begin) & (each < begin + _LOGITS_AT_ONCE))
            wanted = self._placed(np.array(tokens, dtype=np.int64)[own])
            found[own] = logprobs[self._placed(each[own] - begin), wanted].tolist()
        values = iter(found.tolist())
        return {
            row: [[next(values) for _ in ids] for ids in options] for row, options in closed.items()
        }

    def _run(
        self,
        x: Tensor | None,
        layout: Plan,
        kept: Rows,
        names: Sequence[str | None],
        read: np.ndarray,
    ) -> Tensor:
        placed = self._placed
        return self._decoder.run(
            self._decoder.embed(placed(layout.ids)) if x is None else x,
            kept,
            positions=placed(layout.positions),
            owners=placed(layout.owners),
            columns=placed(layout.columns),
            slots=None if layout.slots is None else placed(layout.slots),
            mask=placed(layout.mask),
            segments=segments(names, layout.sizes),
            wanted=placed(read),
        )

    def _placed(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._model.device)

    # Pictures.

    def _pictures(self, rows: Sequence[tuple[Job, Ready]]) -> list[Read | None]:
        """What was read of every row's pictures."""
        keys = [(job.adapter, ready.prefix.key) if ready.prefix else None for job, ready in rows]
        found: dict[Key | None, Read] = {}
        unread: dict[Key, Ready] = {}
        for key, (_, ready) in zip(keys, rows, strict=True):
            if key is None:
                continue
            if key not in found and (read := self._memory.get(key)) is not None:
                found[key] = read
            self.counts["hit" if key in found or key in unread else "miss"] += 1
            if key not in found:
                unread.setdefault(key, ready)
        if unread:
            found |= self._read(unread)
        return [found.get(key) for key in keys]

    def _read(self, unread: dict[Key, Ready]) -> dict[Key, Read]:
        """Run pictures, the words before them and a question's behind them through the model, and keep that."""
        order = list(unread)
        prefixes = {key: ready.prefix for key, ready in unread.items() if ready.prefix}
        words = {key: ready.ids[:-1] for key, ready in unread.items()}
        layout = plan(
            [(*prefixes[key].ids, *words[key]) for key in order],
            [()] * len(order),
            before=[0] * len(order),
        )
        # Adapters of the language model alone share what the tower sees.
        seers = {key: key[0] if self._adapters.touches_pictures(key[0]) else None for key in order}
        seen: dict[Key, Tensor] = {}
        for adapter in dict.fromkeys(seers.values()):
            own = {key[1]: prefixes[key] for key in order if seers[key] == adapter}
            self._adapters.activate(adapter)
            made = embedded(self._model, list(own.values()), tower=self._tower, adapter=adapter)
            seen |= {(adapter, key): part for key, part in zip(own, made, strict=True)}
        self._adapters.activate(None)
        parts = [
            part
            for key in order
            for part in (
                seen[seers[key], key[1]],
                self._decoder.embed(self._placed(np.array(words[key], dtype=np.int64))),
            )
        ]
        rows = self._decoder.rows(len(order), layout.mask.shape[2])
        nothing = layout.read[:0]  # only keys and values are wanted
        self._run(torch.cat(parts), layout, rows, [key[0] for key in order], nothing)
        made = {
            key: Read(rows.kept[:, :, row, :, : layout.sizes[row]].clone(), words[key])
            for row, key in enumerate(order)
        }
        for key, read in made.items():
            if read.states.isfinite().all():  # or every later question would fail for one overflow
                self._memory.keep(key, read)
        return made


def _option_tokens(ready: Ready) -> int:
    return sum(len(ids) - 1 for ids in ready.options)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // 20
    return 256_000_000


def _sample_prompt(options: tuple[str, ...] = ()) -> Prompt:
    image = Picture.of(Image.new("RGB", (64, 48), (127, 127, 127)))
    turns = question_turn(1, "What is this?")
    return Prompt(turns, [image], options, Sampling(max_tokens=2))
