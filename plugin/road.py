"""The way to the backend and back: a request with the shared secret, an answer that is passed on as it comes.

Knows neither Django nor Label Studio.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from plugin.setup import Setup

__all__ = ["SECRET_HEADER", "lines_from", "post_to"]

SECRET_HEADER = "X-Regiontext-Assist"

_log = logging.getLogger(__name__)

# Seconds to connect, and between two events: a large model takes its time before the first word.
_TIMEOUT = (3.05, 75)
_AWAY = {"event": "away", "reason": "the assistant's backend does not answer"}


def lines_from(setup: Setup, body: Mapping[str, Any]) -> Iterator[bytes]:
    """What the backend answers, line by line as it comes; a line that it is away if it does not.

    Closing the iterator closes the connection, which ends the work behind it.
    """
    try:
        with _session() as session, _post(session, setup, "/assist", body) as response:
            if response.status_code != 200:
                _log.warning(
                    "regiontext: the backend refuses (HTTP %s): %s",
                    response.status_code,
                    response.text[:300],
                )
                yield _line(_AWAY | {"reason": "the assistant's backend refuses; see the log"})
                return
            for line in response.iter_lines(chunk_size=None):
                if line:
                    yield line + b"\n"
    except requests.RequestException as error:
        _log.warning("regiontext: the backend does not answer: %s", error)
        yield _line(_AWAY)


def post_to(setup: Setup, path: str, body: Mapping[str, Any]) -> int:
    """Tell the backend something; the HTTP status, 502 if it does not answer."""
    try:
        with _session() as session, _post(session, setup, path, body) as response:
            return int(response.status_code)
    except requests.RequestException as error:
        _log.warning("regiontext: the backend does not answer: %s", error)
        return 502


def _session() -> requests.Session:
    session = requests.Session()
    # The backend is a neighbour, not behind whatever proxy leads outside.
    session.trust_env = False
    return session


def _post(
    session: requests.Session, setup: Setup, path: str, body: Mapping[str, Any]
) -> requests.Response:
    return session.post(
        setup.backend_url + path,
        data=json.dumps(body),
        headers={SECRET_HEADER: setup.secret, "Content-Type": "application/json"},
        timeout=_TIMEOUT,
        stream=True,
        allow_redirects=False,
    )


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"
