"""The log: one JSON object a line, with the id of the request it belongs to, and without secrets.

Code logs with `extra={...}` for anything a reader may want to filter by. Knows nothing of the rest of the backend.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

__all__ = ["REQUEST_ID_HEADER", "JsonFormatter", "request_context", "request_id", "set_up_logging"]

REQUEST_ID_HEADER = "X-Request-Id"
"""The header in which a request names itself, here and at the model server (vLLM names its own by it)."""

_request: ContextVar[str | None] = ContextVar("request_id", default=None)

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SHORTEST = 6
# What a key looks like when it slips into a message: after its scheme, as a JWT, or as a query parameter.
_SECRETS = re.compile(
    r"(?i)(\b(?:token|bearer|basic)\s+)[\w\-.+/=]{8,}"
    r"|\beyJ[\w\-]+\.[\w\-]+\.[\w\-]*"
    r"|([?&][\w\-]*(?:signature|token|secret|credential|key|sig)[\w\-]*=)[^&\s\"']+"
)


def request_id() -> str | None:
    """The id of the request being served, None outside of one."""
    return _request.get()


@contextmanager
def request_context(given: str | None = None) -> Iterator[str]:
    """Everything logged inside carries one request id: `given` (a short plain word) or a new one."""
    plain = given is not None and re.fullmatch(r"[\w\-]{1,64}", given) is not None
    name = str(given) if plain else secrets.token_hex(6)
    mark = _request.set(name)
    try:
        yield name
    finally:
        _request.reset(mark)


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; whatever looks like a key is masked.

    hidden: secrets that are known, masked wherever they stand; shorter ones than six signs would mask plain words.
    """

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        super().__init__()
        written = {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in hidden}
        ordered = sorted((s for s in written if len(s) >= _SHORTEST), key=len, reverse=True)
        self._hidden = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request := _request.get()) is not None:
            entry["request"] = request
        entry.update((k, v) for k, v in record.__dict__.items() if k not in _PLAIN)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        line = json.dumps(entry, default=str, ensure_ascii=False)
        return _mask(self._hidden.sub("[secret]", line) if self._hidden is not None else line)


def set_up_logging(level: str = "INFO", hidden: Iterable[str] = ()) -> None:
    """Send the log of this process to stderr as JSON lines. hidden: see JsonFormatter."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(hidden))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These log every URL they call, and a presigned URL is a secret.
    for chatty in ("httpx", "httpcore", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _mask(text: str) -> str:
    return _SECRETS.sub(lambda m: f"{m.group(1) or m.group(2) or ''}[secret]", text)
