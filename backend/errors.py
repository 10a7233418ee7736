"""The exceptions of the backend, and who sees each.

    BackendError
    ├── SettingsError          the operator, at start-up, with the variable to set
    ├── LabelStudioError       the operator (log, CLI): Label Studio refused or is not there
    │   └── OtherLabelStudio   both: it is not the one whose work the database keeps
    ├── ImageFetchError        the annotator, as a one-line note on the shape
    ├── StoreError             the operator, at start-up: the database cannot be opened
    └── ModelError             the annotator, as a one-line note on the shape
        ├── ModelUnavailable   the model server does not answer (down, loading, timed out)
        └── UnknownModel       the server lacks the model: its adapter is loaded again

None of them ever reaches Label Studio as an HTTP error of an interactive call: an error there
costs the annotator the region. Every message says what was wrong, with the value, and what to do;
none holds a token.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "ImageFetchError",
    "LabelStudioError",
    "ModelError",
    "ModelUnavailable",
    "OtherLabelStudio",
    "SettingsError",
    "StoreError",
    "UnknownModel",
]


class BackendError(Exception):
    """Anything the backend itself raises on purpose."""


class SettingsError(BackendError):
    """A setting is missing or does not make sense."""


class LabelStudioError(BackendError):
    """Label Studio refused a call or could not be reached."""


class OtherLabelStudio(LabelStudioError):
    """A project of another Label Studio than the one whose work the database keeps."""


class ImageFetchError(BackendError):
    """The image of a task may not, or cannot, be fetched."""


class StoreError(BackendError):
    """The database cannot be opened or upgraded."""


class ModelError(BackendError):
    """The model server answered with something that is no answer."""


class ModelUnavailable(ModelError):
    """The model server does not answer, or not yet."""


class UnknownModel(ModelError):
    """The model server does not know the requested model (its adapter is not loaded)."""
