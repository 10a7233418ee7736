"""What stops a job, for whoever started it."""

from __future__ import annotations

from backend.errors import BackendError, LabelStudioError

__all__ = ["JobError", "LabelStudioAway", "NoSuchJob", "NoSuchProject", "NotEnough"]


class JobError(BackendError):
    """A job cannot do its work; the message says why and what to do, in one line."""


class NotEnough(JobError):
    """There are too few records to learn from, or to judge a model by."""


class NoSuchJob(JobError):
    """There is no job of this id."""


class NoSuchProject(LabelStudioError):
    """Label Studio has no project of this number, or the key may not see it."""


class LabelStudioAway(LabelStudioError):
    """Label Studio does not answer, or the proxy in front of it says that it does not."""
