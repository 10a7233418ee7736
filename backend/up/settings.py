"""The settings of a command: its options, else the environment, else what `up` or `connect` kept.

Knows where values come from, not what they mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backend.errors import SettingsError
from backend.settings import Settings
from backend.up.credentials import Credentials, load, save, settings_from

__all__ = [
    "find_project",
    "find_settings",
    "keep_credentials",
    "read_settings",
    "remembered_project",
]


def read_settings(**given: Any) -> Settings:
    """Return settings of `given` values, else REGIONTEXT_* and .env.

    Raises SettingsError, in one line, for values that make no sense.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: "
            f"{str(item['msg']).removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise SettingsError(f"{problems} (see the REGIONTEXT_* variables and .env)") from None


def find_settings(data_dir: Path, *, kept: Credentials | None = None, **given: Any) -> Settings:
    """Return settings: `given` values (None: not given), else REGIONTEXT_* and .env, else what is
    `kept` (by default in credentials.json of `data_dir`). Raises SettingsError.
    """
    given = {name: value for name, value in given.items() if value is not None}
    settings = read_settings()
    told = {name for name in settings.model_fields_set if getattr(settings, name) is not None}
    kept = kept or load(data_dir)
    found = settings_from(kept) if kept is not None else {}
    found = {name: value for name, value in found.items() if name not in told}
    return read_settings(**{**found, "data_dir": data_dir, **given})


def find_project(project: int | None, data_dir: Path) -> int:
    """Return the project's number: as given, else the one that `up` or `connect` remembered.

    Raises SettingsError when there is none.
    """
    number = project if project is not None else remembered_project(data_dir)
    if number is not None:
        return number
    raise SettingsError(
        f"which project? {data_dir} remembers none: give --project N, the number in the project's "
        "address, …/projects/N"
    )


def remembered_project(data_dir: Path) -> int | None:
    """Return the project that `up` or `connect` remembered."""
    kept = load(data_dir)
    return kept.connection.project if kept is not None and kept.connection is not None else None


def keep_credentials(data_dir: Path) -> Credentials:
    """Return the credentials of a data folder; make and save them when there are none.

    So `serve` and `connect`, run beside each other, agree on the webhook's secret without being
    told.
    """
    found = load(data_dir)
    if found is None:
        found = Credentials.new()
        save(found, data_dir)
    return found
