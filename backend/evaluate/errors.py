"""What can go wrong in an evaluation; the operator sees it in one line.

EvaluateError
├── WrongFolder    the folder is not that benchmark's, with what it lacks and where to get it
└── JudgeError     the judge does not answer, or refuses; a second run goes on where this one stopped
"""

from __future__ import annotations

from backend.errors import BackendError

__all__ = ["EvaluateError", "JudgeError", "WrongFolder"]


class EvaluateError(BackendError):
    """An evaluation cannot go on."""


class WrongFolder(EvaluateError):
    """The folder does not hold the benchmark."""


class JudgeError(EvaluateError):
    """The judge gave no verdict."""
