"""What lives as long as the process: opened in the right order and closed again.

`running_backend` is for code in an event loop, as the app is. `BackendThread` gives the same to callers that block, on
an event loop in a thread of its own. Knows nothing of routes.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import httpx

from backend.assistant import Assistant
from backend.errors import BackendError
from backend.events import EventProcessor, EventWorker
from backend.images import Images
from backend.jobs.collect import collect, process_event
from backend.ledger import Ledger
from backend.metrics import Metrics, store_collector
from backend.model_client import client_of, segmenter_of
from backend.protocol import Backend
from backend.reconcile import reconcile
from backend.registry import tidy
from backend.serving import refresh
from backend.settings import Settings
from backend.store import open_store
from backend.store.queries import served_models

__all__ = ["BackendThread", "running_backend"]

_log = logging.getLogger(__name__)

_REFRESH_S = 30.0
_STOP_S = 10.0

T = TypeVar("T")


@asynccontextmanager
async def running_backend(
    settings: Settings,
    *,
    model_transport: httpx.AsyncBaseTransport | None = None,
    image_transport: httpx.AsyncBaseTransport | None = None,
    processor: EventProcessor | None = None,
) -> AsyncIterator[Backend]:
    """Open the store, the model, the images and the event worker; close them at the end of the block.

    model_transport, image_transport: stand in for the network. processor: what webhooks are handed to. If not
    given, the collect job, which then also asks Label Studio for what webhooks missed.

    Raises:
        StoreError: the database cannot be opened.
    """
    async with AsyncExitStack() as stack:
        store = await asyncio.to_thread(open_store, settings.database_url)
        stack.callback(store.close)
        model = await stack.enter_async_context(client_of(settings, transport=model_transport))
        masks = segmenter_of(settings, transport=model_transport)
        if masks is not None:
            await stack.enter_async_context(masks)
        metrics = Metrics()
        metrics.watch(store_collector(store))
        images = await stack.enter_async_context(
            Images(
                settings,
                transport=image_transport,
                looked_up=lambda hit: metrics.cached("bytes", hit=hit),
            )
        )
        assistant = Assistant(settings, store, images, model, metrics, masks=masks)
        events = EventWorker(settings, store, processor or process_event)
        stack.push_async_callback(assistant.shadow.close)
        events.start()
        stack.push_async_callback(events.stop)
        watching = asyncio.create_task(_watch_model(assistant))
        stack.push_async_callback(_cancelled, watching)
        if processor is None:
            asking = reconcile(settings, store, lambda n: collect(settings, n, store=store))
            stack.push_async_callback(_cancelled, asyncio.create_task(asking))
        yield Backend(settings, store, assistant, Ledger(settings.pending_s), events)


class BackendThread:
    """A running backend for callers that block, from as many threads as they like.

    opening: makes the block in which the backend runs, as `running_backend` does. The thread starts at once; opening
    goes on in it, and whoever asks for the backend waits for that.
    """

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Backend]]) -> None:
        self._opening = opening
        self._opened: Future[Backend] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        # A daemon, so that a process that was told to end does not wait for it.
        self._thread = threading.Thread(target=self._run, name="regiontext", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def failed(self) -> bool:
        """Whether it could not be opened, or has ended; another one may do better."""
        opened = self._opened
        return not self._thread.is_alive() or (opened.done() and opened.exception() is not None)

    def backend(self, timeout: float | None = None) -> Backend:
        """The backend, once it is open. What it holds belongs to the loop, except the store.

        Raises:
            TimeoutError: it is not open in `timeout` seconds.
            Exception: what went wrong when it was opened.
        """
        return self._opened.result(timeout)

    def call(
        self, work: Callable[[Backend], Coroutine[Any, Any, T]], timeout: float | None = None
    ) -> T:
        """Run `work` on the loop and wait for what it returns; `timeout` seconds at most for each of opening and it.

        Raises:
            TimeoutError: it took longer, and was cancelled.
            Exception: what `work` raised, or what went wrong when the backend was opened.
        """
        backend = self.backend(timeout)
        waiting = asyncio.run_coroutine_threadsafe(work(backend), self._loop)
        try:
            return waiting.result(timeout)
        except TimeoutError:
            waiting.cancel()
            raise

    def wake(self) -> None:
        """Tell the event worker that an event was kept."""
        self._loop.call_soon_threadsafe(self.backend().events.wake)

    def close(self) -> None:
        """Close what is open and end the thread; nothing to do the second time."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._live())
        except BaseException as error:
            if self._opened.done():
                _log.exception("the backend's thread ended")
            else:
                self._opened.set_exception(error)
        finally:
            self._loop.close()

    async def _live(self) -> None:
        async with self._opening() as backend:
            self._opened.set_result(backend)
            await self._stop.wait()


async def _watch_model(assistant: Assistant) -> None:
    """Keep in the store what the model server announces, so that routes need not ask it."""
    away = False
    while True:
        try:
            await refresh(assistant.settings, assistant.store, assistant.model)
            away = False
            with assistant.store.read() as session:
                announced = served_models(session)
            for done in await tidy(assistant.store, assistant.model, announced):
                _log.info("adapter %s", done)
        except BackendError as error:
            if not away:
                _log.warning("no model to ask: %s", error)
            away = True
        except Exception:
            _log.exception("watching the model server failed; it goes on")
        await asyncio.sleep(_REFRESH_S)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
