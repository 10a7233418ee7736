"""What can stop `regiontext up`, each as one clear line for the person at the terminal.

BackendError └── UpError                the set-up cannot start or go on; the message says
what to do ├── PortBusy           somebody listens where one of the services should ├──
MissingPackage     an optional part is not installed ├── AlreadyRunning     another
`regiontext up` uses this data folder └── ServiceFailed      a child process died or never
became ready; carries the end of its log
"""

from __future__ import annotations

from pathlib import Path

from backend.errors import BackendError

__all__ = ["AlreadyRunning", "MissingPackage", "PortBusy", "ServiceFailed", "UpError"]


class UpError(BackendError):
    """The set-up cannot start or go on."""


class PortBusy(UpError):
    """Somebody listens where one of the services should."""


class MissingPackage(UpError):
    """An optional part is not installed."""


class AlreadyRunning(UpError):
    """Another `regiontext up` uses this data folder."""


class ServiceFailed(UpError):
    """A child process died or never became ready; `tail` holds the last lines of its log."""

    def __init__(self, message: str, *, log: Path, tail: tuple[str, ...]) -> None:
        super().__init__(message)
        self.log = log
        self.tail = tail
