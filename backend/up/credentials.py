"""The account, the keys and the project of one data folder, kept between starts.

One JSON file, `credentials.json`, readable by its owner only, replaced as a whole. `regiontext
up` writes it; the other commands read the connection from it when they run beside it. Knows no
Label Studio.
"""

from __future__ import annotations

import json
import os
import secrets
import string
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from backend.errors import SettingsError

__all__ = [
    "BACKEND_USER",
    "FILE_NAME",
    "Account",
    "Connection",
    "Credentials",
    "load",
    "save",
    "settings_from",
]

FILE_NAME = "credentials.json"
BACKEND_USER = "label-studio"
_VERSION = 1
_Part = TypeVar("_Part")
# No look-alikes: the password is typed from a terminal.
_ALPHABET = "".join(c for c in string.ascii_letters + string.digits if c not in "0O1lI")


@dataclass(frozen=True)
class Account:
    """The one user of the embedded Label Studio.

    `token` is that user's legacy API token, 40 hex digits. `shown` remembers that the password was
    printed once.
    """

    username: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    shown: bool = False

    @classmethod
    def new(cls) -> Account:
        """Return an account with a random password (about 93 bits) and token."""
        return cls(
            username="annotator@regiontext.local",
            password="".join(secrets.choice(_ALPHABET) for _ in range(16)),
            token=secrets.token_hex(20),
        )


@dataclass(frozen=True)
class Connection:
    """Where things were reached at the last start, and which project is ours there.

    `server` names the Label Studio that `project` belongs to: "embedded", or its URL.
    `samples_added` remembers that the sample scenes were uploaded once: those deleted by hand do
    not come back.
    """

    server: str
    label_studio_url: str
    label_studio_api_key: str = field(repr=False)
    project: int | None = None
    samples_added: bool = False
    backend_url: str | None = None
    model_url: str | None = None


@dataclass(frozen=True)
class Credentials:
    """Everything in the file.

    `webhook_secret` comes with annotation events, `backend_password` (of BACKEND_USER) with what
    Label Studio asks the backend, `assist_secret` with what the assistant in its page asks. `account` is
    None when no Label Studio was ever started here.
    """

    webhook_secret: str = field(repr=False)
    backend_password: str = field(repr=False)
    assist_secret: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    account: Account | None = None
    connection: Connection | None = None

    @classmethod
    def new(cls) -> Credentials:
        """Return credentials with random secrets for the backend and nothing else."""
        return cls(
            webhook_secret=secrets.token_urlsafe(32), backend_password=secrets.token_urlsafe(24)
        )

    def with_connection(self, connection: Connection) -> Credentials:
        """Return a copy that remembers `connection`."""
        return replace(self, connection=connection)


def load(data_dir: Path) -> Credentials | None:
    """Read `data_dir`/credentials.json; None when there is none. Raises SettingsError when it is
    unreadable.
    """
    path = data_dir / FILE_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({error}): restore it or delete it") from None
    try:
        if found["version"] > _VERSION:
            raise SettingsError(
                f"{path} was written by a newer regiontext (format {found['version']}): upgrade regiontext"
            )
        return Credentials(
            webhook_secret=str(found["webhook_secret"]),
            backend_password=str(found["backend_password"]),
            # Files of earlier versions lack it.
            assist_secret=str(found.get("assist_secret") or secrets.token_urlsafe(32)),
            account=_build(Account, found.get("account")),
            connection=_build(Connection, found.get("connection")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{path} is not what `regiontext up` writes ({error!r}): restore it or delete it"
        ) from None


def save(credentials: Credentials, data_dir: Path) -> Path:
    """Write `data_dir`/credentials.json (mode 0600, atomically and durably) and return its path."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / FILE_NAME
    text = json.dumps({"version": _VERSION, **asdict(credentials)}, indent=2) + "\n"
    # mkstemp makes the file 0600 from the start: the secrets are never readable by others.
    handle, temporary = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=data_dir)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def settings_from(credentials: Credentials) -> dict[str, Any]:
    """Return the backend settings (field name -> value) that these credentials stand for."""
    found: dict[str, Any] = {
        "webhook_secret": credentials.webhook_secret,
        "assist_secret": credentials.assist_secret,
        "basic_auth_user": BACKEND_USER,
        "basic_auth_password": credentials.backend_password,
    }
    if (connection := credentials.connection) is not None:
        found["label_studio_url"] = connection.label_studio_url
        found["label_studio_api_key"] = connection.label_studio_api_key
        if connection.model_url:
            found["model_url"] = connection.model_url
        if connection.backend_url:
            found["public_url"] = connection.backend_url
    return found


def _build(cls: type[_Part], found: Mapping[str, Any] | None) -> _Part | None:
    """Build a dataclass from the keys it knows; unknown keys are left out."""
    if found is None:
        return None
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    return cls(**{key: value for key, value in found.items() if key in known})
