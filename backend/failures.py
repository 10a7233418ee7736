"""Why a question got no answer, in the words that an annotator sees. Knows nothing of how questions are asked."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from backend.errors import BackendError, ModelUnavailable, UnknownModel
from regiontext.errors import RegiontextError

__all__ = ["Failure", "failure_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why a question got no answer, in one line; temporary if asking later may get one."""

    reason: str
    temporary: bool


def failure_of(fault: BaseException) -> Failure:
    """What was raised, for the annotator; what was not raised on purpose goes to the log with its trace."""
    if isinstance(fault, (BackendError, RegiontextError, TimeoutError)):
        temporary = isinstance(fault, (ModelUnavailable, UnknownModel, TimeoutError))
        return Failure(" ".join(str(fault).split()), temporary)
    _log.error("asking failed", exc_info=fault)
    name = type(fault).__name__
    return Failure(f"internal error ({name}); see the log of regiontext", temporary=False)
