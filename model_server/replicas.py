"""Several engines behind one door: the same model once per device, each request answered by the one with least to do.

Unless another has read the request's picture last and has hardly more to do: a picture that is remembered need not be
read again. Offers the HTTP side what a single `Engine` offers. An adapter is loaded into every replica or into none.
Knows nothing of HTTP and of devices.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from model_server.batches import Job, OnToken
from model_server.engine import Engine
from model_server.errors import AdapterError, RequestError
from model_server.jobs import Picture, Prompt

__all__ = ["Replicas", "RoutedTicket"]

# From the least to the most that can be said for the whole.
_STATES = ("failed", "loading", "ready")

# By how many requests the one that has read a picture may be busier. Questions about one picture come by the handful,
# and cost less together than the picture that each of several replicas would read.
_MARGIN = 4

# Pictures of which is remembered who read them; more than a model remembers.
_PICTURES = 4096


class Replicas:
    """Engines of one model as one engine.

    Args:
        engines: at least one, each with a device of its own, the same base and the same adapters.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        if not engines:
            raise ValueError("no engines: a server needs a device")
        self._engines = tuple(engines)
        self.base = engines[0].base
        # Adapters come and go one after the other, so that every replica sees the same order.
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="adapters")
        self._readers: OrderedDict[bytes, Engine] = OrderedDict()
        self._reading = threading.Lock()

    @property
    def on_batch(self) -> Callable[[Sequence[Job], float], None] | None:
        """What is called after every batch of any replica."""
        return self._engines[0].on_batch

    @on_batch.setter
    def on_batch(self, told: Callable[[Sequence[Job], float], None]) -> None:
        for engine in self._engines:
            engine.on_batch = told

    @property
    def state(self) -> str:
        """The worst state of a replica: "failed", "loading" or "ready"."""
        return min((engine.state for engine in self._engines), key=_STATES.index)

    @property
    def failure(self) -> str | None:
        """Why a replica has no model."""
        return next((engine.failure for engine in self._engines if engine.failure), None)

    @property
    def limit(self) -> int | None:
        """Tokens of prompt and answer together; None until a model is loaded."""
        return self._engines[0].limit

    def start(self) -> None:
        """Begin loading every replica; returns at once."""
        for engine in self._engines:
            engine.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Answer what is queued, then end the workers."""
        with ThreadPoolExecutor(len(self._engines)) as pool:
            list(pool.map(lambda engine: engine.stop(timeout_s), self._engines))
        self._changes.shutdown(wait=False, cancel_futures=True)

    def arrive(self) -> RoutedTicket:
        """Announce a request to the replica with least to do that has room.

        Raises RequestError 429 when every queue is full.
        """
        *freer, busiest = sorted(self._engines, key=lambda engine: engine.load())
        for engine in freer:
            with suppress(RequestError):  # full: who has little to answer may have much to prepare
                return RoutedTicket(self, engine)
        return RoutedTicket(self, busiest)

    def reader(self, pictures: Sequence[Picture], at: Engine) -> Engine:
        """The replica to ask about these pictures, of a request that is counted `at` one already."""
        with self._reading:
            read = [self._readers[one.digest] for one in pictures if one.digest in self._readers]
            loads = {engine: engine.load() - (engine is at) for engine in self._engines}
            least = min(loads.values())
            near = [engine for engine in read if loads[engine] <= least + _MARGIN]
            # Of several pictures, where most were read.
            return max(near, key=near.count, default=at)

    def reads(self, pictures: Sequence[Picture], engine: Engine) -> None:
        """These pictures are read by this replica now, if it does not remember them."""
        with self._reading:
            for one in pictures:
                self._readers[one.digest] = engine
                self._readers.move_to_end(one.digest)
            while len(self._readers) > _PICTURES:
                self._readers.popitem(last=False)

    def give_up(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these answers any more."""
        for engine in self._engines:
            engine.give_up(jobs)

    def waiting(self) -> int:
        """Requests on their way in or queued, at all replicas."""
        return sum(engine.waiting() for engine in self._engines)

    def counts(self) -> Mapping[str, int]:
        """What the models count, added up."""
        total: Counter[str] = Counter()
        for engine in self._engines:
            total.update(engine.counts())
        return dict(total)

    def adapters(self) -> dict[str, Path]:
        """Names and folders of the adapters that every replica serves."""
        first, *others = (engine.adapters() for engine in self._engines)
        return {name: path for name, path in first.items() if all(name in o for o in others)}

    def lineage(self, name: str) -> dict[str, Any] | None:
        """Where an adapter comes from; None for an unknown one."""
        return self._engines[0].lineage(name)

    def load_adapter(self, name: str, path: Path) -> Future[None]:
        """Load an adapter into every replica; where one cannot, it is taken out of the others again."""
        return self._changes.submit(self._load, name, path)

    def unload_adapter(self, name: str) -> Future[None]:
        """Forget an adapter when its requests in flight are done."""
        return self._changes.submit(self._unload, name)

    def _load(self, name: str, path: Path) -> None:
        loaded: list[Engine] = []
        try:
            for engine in self._engines:
                engine.load_adapter(name, path).result()
                loaded.append(engine)
        except Exception:
            for engine in loaded:
                engine.unload_adapter(name).result()
            raise

    def _unload(self, name: str) -> None:
        # Every replica refuses new requests at once, and then each waits for those in flight.
        left, errors = [], []
        for engine in self._engines:
            try:
                left.append(engine.unload_adapter(name))
            except AdapterError as error:
                errors.append(error)
        for done in left:
            done.result()
        if errors:
            raise errors[0]


class RoutedTicket:
    """A request on its way in: what a `Ticket` is, and it goes over to the replica that has read its pictures."""

    def __init__(self, replicas: Replicas, engine: Engine) -> None:
        self._replicas = replicas
        self._engine = engine
        self._ticket = engine.arrive()
        self._model = replicas.base

    def choose(self, model: str) -> None:
        """Name the model asked for; raises what `Ticket.choose` does."""
        self._ticket.choose(model)
        self._model = model

    def aside(self) -> AbstractContextManager[None]:
        """Meanwhile no forming batch waits for this request; its place and its adapter are kept."""
        return self._ticket.aside()

    def submit(self, *prompts: Prompt, on_token: OnToken | None = None) -> list[Job]:
        """Prepare the prompts, which share their pictures, and queue them together; see `Ticket.submit`."""
        if pictures := prompts[0].images:
            self._go_over(self._replicas.reader(pictures, self._engine))
            self._replicas.reads(pictures, self._engine)
        return self._ticket.submit(*prompts, on_token=on_token)

    def close(self) -> None:
        """Stop being waited for and release the adapter; safe to call twice."""
        self._ticket.close()

    def _go_over(self, engine: Engine) -> None:
        if engine is self._engine:
            return
        try:
            ticket = engine.arrive()
        except RequestError:  # full meanwhile: where it is, it has its place
            return
        try:
            ticket.choose(self._model)
        except RequestError:  # such as an adapter that is going
            ticket.close()
            return
        self._ticket.close()
        self._engine, self._ticket = engine, ticket
