"""What is kept between starts: whole, private, and never overwritten by half."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from backend.errors import SettingsError
from backend.up import credentials
from backend.up.credentials import Account, Connection, Credentials, load, save, settings_from

CONNECTION = Connection(
    server="embedded",
    label_studio_url="http://127.0.0.1:8080",
    label_studio_api_key="key",
    project=3,
    samples_added=True,
    backend_url="http://127.0.0.1:9090",
    model_url="http://127.0.0.1:9200/v1",
)


def _full() -> Credentials:
    return Credentials.new().with_connection(CONNECTION)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    from dataclasses import replace

    kept = replace(_full(), account=Account.new())
    save(kept, tmp_path / "deep" / "down")
    assert load(tmp_path / "deep" / "down") == kept


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert load(tmp_path) is None


def test_the_file_is_private_even_under_an_open_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = save(_full(), tmp_path)
        save(_full(), tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [credentials.FILE_NAME]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _full()
    save(kept, tmp_path)

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(Credentials.new(), tmp_path)
    assert load(tmp_path) == kept
    assert [p.name for p in tmp_path.iterdir()] == [credentials.FILE_NAME]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1}', "null"])
def test_a_damaged_file_is_an_error_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / credentials.FILE_NAME).write_text(text)
    with pytest.raises(SettingsError, match=r"credentials\.json"):
        load(tmp_path)


def test_a_newer_file_is_refused_not_cut_down(tmp_path: Path) -> None:
    path = save(_full(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    with pytest.raises(SettingsError, match="newer"):
        load(tmp_path)


def test_unknown_keys_do_not_hurt(tmp_path: Path) -> None:
    path = save(_full(), tmp_path)
    found = json.loads(path.read_text())
    found["connection"]["later"] = 1
    path.write_text(json.dumps(found))
    loaded = load(tmp_path)
    assert loaded is not None and loaded.connection == CONNECTION


def test_accounts_and_secrets_are_random_and_hidden() -> None:
    one, other = Account.new(), Account.new()
    assert one.password != other.password and one.token != other.token
    assert len(one.password) == 16 and len(one.token) == 40
    secret = Credentials.new()
    assert secret.webhook_secret != Credentials.new().webhook_secret
    shown = repr(secret.with_connection(CONNECTION)) + repr(one)
    assert one.password not in shown and one.token not in shown
    assert secret.webhook_secret not in shown and "'key'" not in shown


def test_settings_name_the_backend_s_fields() -> None:
    from backend.settings import Settings

    found = settings_from(_full())
    assert set(found) <= set(Settings.model_fields)
    assert found["label_studio_url"] == "http://127.0.0.1:8080"
    assert found["public_url"] == "http://127.0.0.1:9090"
