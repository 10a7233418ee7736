"""The assistant as a model of label-studio-ml, for teams that already run its server.

    from backend.label_studio_ml import RegiontextModel
    app = label_studio_ml.api.init_app(model_class=RegiontextModel, model_dir=".")

Works under label-studio-ml 1.0.9 (PyPI) and 2.x (GitHub), which differ in nearly every signature. Both call from
blocking threads and make models anew as they please, 2.x one per request, so that all models of a process share one
running backend. Nothing else imports this module; importing it needs label-studio-ml.
"""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from backend.batch import predict_batch
from backend.events import keep_event
from backend.interactive import Interactive, config_of, interact
from backend.logs import request_context
from backend.outgoing import entry_of, regional
from backend.protocol import Backend
from backend.running import BackendThread, running_backend
from backend.security import may_send_webhook
from backend.serving import served, unknown_yet
from backend.settings import Settings
from backend.store import open_store
from regiontext.errors import ConfigError

__all__ = ["RegiontextModel"]

_log = logging.getLogger(__name__)

_INSTALL = (
    "pip install --no-deps label-studio-ml==1.0.9 && "
    "pip install label-studio-tools 'flask>=3' redis rq attrs colorama requests"
)
# Label Studio waits three seconds for /setup.
_SETUP_S = 2.5
# On top of the time budget that answering keeps to by itself.
_SPARE_S = 1.0


def _base() -> Any:
    try:
        return importlib.import_module("label_studio_ml.model").LabelStudioMLBase
    except ImportError as error:
        raise ImportError(
            f"backend.label_studio_ml needs label-studio-ml, which cannot be imported ({error}). Install 1.0.9 by\n"
            f"  {_INSTALL}\n(its own pins are years old and would replace newer packages), or 2.x from GitHub; or run "
            "`regiontext serve`, which needs neither"
        ) from error


class _Threads:
    """The backend that all models of a process share, begun by the first that needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[int, BackendThread] | None = None

    def get(self) -> BackendThread:
        """The running backend of this process; a new one if it was forked, or the last one failed."""
        with self._lock:
            if self._running is None or self._running[0] != os.getpid() or self._running[1].failed:
                settings = Settings()
                self._running = (os.getpid(), BackendThread(lambda: running_backend(settings)))
            return self._running[1]

    def close(self) -> None:
        """End it; the next call begins another."""
        with self._lock:
            if self._running is not None and self._running[0] == os.getpid():
                self._running[1].close()
            self._running = None


class RegiontextModel(_base()):  # type: ignore[misc]
    """Answers as `regiontext serve` does, with the same settings (REGIONTEXT_…, LABEL_STUDIO_URL, …_API_KEY).

    The address and token that label-studio-ml hands to models are not used: that token is dead by default.
    """

    # Both lines know other names than Label Studio sends; 1.0.9 lacks START_TRAINING. 2.x has a list of its own.
    TRAIN_EVENTS = (
        "ANNOTATION_CREATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_DELETED",
        "START_TRAINING",
    )
    backends: ClassVar[_Threads] = _Threads()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # 1.0.9 also makes a model in a process per webhook, which must not work off the others' events.
        if multiprocessing.parent_process() is None:
            self.backends.get()
        super().__init__(*args, **kwargs)

    def setup(self) -> None:
        """2.x calls this for every request: name the model version of the project's labeling config."""
        try:
            version = self._version(self.backends.get().backend(_SETUP_S))
        except Exception:
            _log.exception("the model version is not known")
            return
        if self.get("model_version") != version:
            self.set("model_version", version)

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """One entry per task, or with a context the answer to the annotator, who gets every region back in any case.

        A plain list, which both lines pass on as it is: an entry may be empty, so that Label Studio stores nothing.
        """
        tasks = [task for task in tasks or [] if isinstance(task, Mapping)]
        # Without one 2.x passes an empty object.
        interactive = isinstance(context, Mapping) and bool(context)
        sent = context.get("result") if isinstance(context, Mapping) else None
        shapes = [dict(item) for item in sent or [] if isinstance(item, Mapping)]
        project, config = self._project(tasks), self._config()

        async def ask(backend: Backend) -> list[Any]:
            if not interactive:
                return list(
                    await predict_batch(
                        backend.assistant, tasks=tasks, project=project, label_config=config
                    )
                )
            call = Interactive(tasks[0] if tasks else {}, str(project), config, tuple(shapes))
            return [entry_of(await interact(backend.assistant, backend.ledger, call))]

        try:
            thread = self.backends.get()
            with request_context():
                budget = thread.backend(_SPARE_S + _SETUP_S).settings.budget_s
                return _sendable(thread.call(ask, budget + _SPARE_S))
        except Exception:
            # An error, or an answer without them, would delete the annotator's regions.
            _log.exception("a call failed")
            return _sendable([entry_of(regional(shapes))] if interactive else [[] for _ in tasks])

    def fit(self, *args: Any, event: str | None = None, data: Any = None, **kwargs: Any) -> None:
        """Keep a webhook, to be worked off by the process that answers; fine-tuning is `regiontext finetune`.

        1.0.9 calls `fit((), event=…, data=…)` in a process of its own, 2.x `fit(event, data)` in the request.
        """
        if args and isinstance(args[0], str):
            event, data = args[0], args[1] if len(args) > 1 else data
        if event is None or not isinstance(data, Mapping):
            return
        settings, request = Settings(), _request()
        if request is not None and not may_send_webhook(settings, request.headers):
            _log.warning("a webhook without the secret was refused")
            return
        body = {**data, "action": event}
        if multiprocessing.parent_process() is None:
            thread = self.backends.get()
            keep_event(thread.backend(_SETUP_S).store, body)
            thread.wake()
            return
        store = open_store(settings.database_url)
        try:
            keep_event(store, body)
        finally:
            store.close()

    def _version(self, backend: Backend) -> str:
        model = served(backend.settings, backend.store) or unknown_yet(backend.settings)
        try:
            return model.version(config_of(self._config()))
        except ConfigError as error:
            _log.warning("set up without questions: %s", error)
            return model.model

    def _config(self) -> str:
        """The labeling config of the request: 1.0.9 has one model for all projects, set up for the last of them."""
        body = _body()
        return str(body.get("label_config") or body.get("schema") or self.label_config or "")

    def _project(self, tasks: list[dict[str, Any]]) -> object:
        of_task = tasks[0].get("project") if tasks else None
        return _body().get("project") or getattr(self, "project_id", None) or of_task


def _request() -> Any:
    """The Flask request that is being answered, None outside of one."""
    flask = sys.modules.get("flask")
    return flask.request if flask is not None and flask.has_request_context() else None


def _body() -> Mapping[str, Any]:
    request = _request()
    body = request.get_json(silent=True) if request is not None else None
    return body if isinstance(body, Mapping) else {}


def _sendable(results: list[Any]) -> list[Any]:
    """The same, with null for numbers that JSON lacks: Label Studio could not pass them on to the page."""
    found: list[Any] = json.loads(json.dumps(results), parse_constant=lambda name: None)
    return found
