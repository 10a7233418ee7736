"""Every error of the model server, and who sees it.

    ModelServerError
    ├── ModelFolderError      whoever starts the server or a training run: printed as one line
    ├── TrainingError         whoever starts a fine-tuning run: printed as one line
    └── RequestError          the HTTP client: an OpenAI-shaped body with `param` and `code`
        └── AdapterError      the caller of /v1/load_lora_adapter and /v1/unload_lora_adapter

Knows nothing of HTTP frameworks or torch.
"""

from __future__ import annotations

import reprlib

__all__ = [
    "AdapterError",
    "ModelFolderError",
    "ModelServerError",
    "RequestError",
    "TrainingError",
    "brief",
]


class ModelServerError(Exception):
    """Base of all errors raised on purpose by this package."""


class ModelFolderError(ModelServerError):
    """A model folder is missing or unusable; the message says which and how to fix it."""


class TrainingError(ModelServerError):
    """Training data or arguments cannot be used; the message names the file, line or flag."""


class RequestError(ModelServerError):
    """A request that cannot be answered, told to the client in OpenAI's error shape.

    Args:
        message: what was wrong, with the value, and how to fix it.
        param: the request field at fault, e.g. ``messages[0].content[1].image_url.url``.
        code: a stable machine-readable word, e.g. ``model_not_found``.
        status: the HTTP status.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status

    @property
    def kind(self) -> str:
        """OpenAI's `type` word for the status."""
        if self.status >= 500:
            return "server_error"
        return {
            401: "authentication_error",
            403: "permission_error",
            404: "not_found_error",
            429: "rate_limit_error",
        }.get(self.status, "invalid_request_error")


class AdapterError(RequestError):
    """A LoRA adapter that cannot be loaded or unloaded."""


def brief(value: object, most: int = 120) -> str:
    """A value of a request as a message echoes it: its repr, shortened in the middle to `most` characters.

    Costs no more for a long value than for a short one.
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    text = short.repr(value)
    end = (most - 3) // 2
    return text if len(text) <= most else f"{text[: most - 3 - end]}...{text[-end:]}"
