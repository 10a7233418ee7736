"""What can be chosen about `regiontext up`, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backend.up.ports import reachable_host

__all__ = ["DEFAULT_TITLE", "EMBEDDED", "UpOptions"]

DEFAULT_TITLE = "regiontext demo"
# Stands for the embedded Label Studio where a URL would name an existing one.
EMBEDDED = "embedded"


@dataclass(frozen=True)
class UpOptions:
    """The choices, with the defaults of the command line.

    label_studio_url: use that Label Studio (with api_key) instead of starting one. model_url: use
    that OpenAI-compatible server instead of starting ours; `model` is then the name to ask it for,
    otherwise a model folder or hub id (None: the bundled one). backend_url: where Label Studio
    reaches the backend, when that differs from http://HOST:PORT. assistant: whether the embedded Label
    Studio runs the assistant in its page.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    label_studio_port: int = 8080
    port: int = 9090
    model_port: int = 9200
    label_studio_url: str | None = None
    api_key: str | None = None
    model: str | None = None
    model_url: str | None = None
    backend_url: str | None = None
    project_title: str = DEFAULT_TITLE
    browser: bool = True
    assistant: bool = True

    @property
    def server(self) -> str:
        """The name under which the project is remembered: "embedded" or the URL of the existing Label Studio."""
        return self.label_studio_url.rstrip("/") if self.label_studio_url else EMBEDDED

    @property
    def own_label_studio_url(self) -> str:
        """Where this machine reaches the embedded Label Studio."""
        return f"http://{reachable_host(self.host)}:{self.label_studio_port}"

    @property
    def own_backend_url(self) -> str:
        """Where this machine reaches the backend."""
        return f"http://{reachable_host(self.host)}:{self.port}"

    @property
    def own_model_url(self) -> str:
        """Where our model server is reached: it has no password, so only from this machine."""
        return f"http://127.0.0.1:{self.model_port}"
