"""How the children are started: private, on the right ports, and with nothing secret on a command line."""

from __future__ import annotations

import io
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from backend.settings import Settings
from backend.up import services
from backend.up.credentials import Account, Connection, Credentials
from backend.up.display import Display
from backend.up.errors import MissingPackage, UpError
from backend.up.options import UpOptions
from backend.up.start import Start
from backend.up.supervisor import Service

HOSTILE = {
    "PATH": "/usr/bin",
    "HOST": "laptop",
    "PORT": "1",
    "USERNAME": "me",
    "DEBUG": "1",
    "DJANGO_DB": "postgres",
    "REGIONTEXT_HOLDOUT": "0.2",
}


@pytest.fixture
def options(tmp_path: Path) -> UpOptions:
    return UpOptions(data_dir=tmp_path, label_studio_port=8181, port=9191, model_port=9292)


@pytest.fixture
def credentials() -> Credentials:
    made = replace(Credentials.new(), account=Account.new())
    return made.with_connection(
        Connection("embedded", "http://127.0.0.1:8181", "the-key", 1, True,
                   "http://127.0.0.1:9191", "http://127.0.0.1:9292/v1")
    )  # fmt: skip


def test_label_studio_keeps_to_itself(options: UpOptions, credentials: Credentials) -> None:
    assert credentials.account is not None
    service = services.label_studio_service(options, credentials.account, HOSTILE)
    found = service.environment
    assert found["COLLECT_ANALYTICS"] == "False" and found["LATEST_VERSION_CHECK"] == "False"
    assert found["SENTRY_DSN"] == "" and found["FRONTEND_SENTRY_DSN"] == ""
    assert found["LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"] == "true"
    assert found["LABEL_STUDIO_BASE_DATA_DIR"] == str(options.data_dir / "label-studio")
    assert not {"HOST", "PORT", "USERNAME", "DEBUG", "DJANGO_DB"} & set(found)
    assert service.ready_url == "http://127.0.0.1:8181/health"
    arguments = " ".join(service.command)
    assert "--internal-host 127.0.0.1 --port 8181" in arguments
    assert credentials.account.password not in arguments
    assert credentials.account.token not in arguments


def test_only_the_loopback_is_opened_to_label_studio(
    options: UpOptions, credentials: Credentials
) -> None:
    def closed(given: UpOptions) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        assert credentials.account is not None
        found = services.label_studio_service(given, credentials.account, {}).environment
        assert found["USE_DEFAULT_BANNED_SUBNETS"] == "false"
        subnets = found["USER_ADDITIONAL_BANNED_SUBNETS"].split(",")
        return [ipaddress.ip_network(subnet) for subnet in subnets]

    def reaches(address: str, given: UpOptions) -> bool:
        ip = ipaddress.ip_address(address)
        return not any(ip in subnet for subnet in closed(given))

    assert reaches("127.0.0.1", options)
    assert not reaches("169.254.169.254", options) and not reaches("10.1.2.3", options)
    on_lan = replace(options, host="192.168.1.5")
    assert reaches("192.168.1.5", on_lan) and not reaches("10.1.2.3", on_lan)


def test_the_backend_is_told_everything_by_its_own_variables(
    options: UpOptions, credentials: Credentials, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = services.backend_service(options, credentials, ("user", "word"), HOSTILE)
    monkeypatch.chdir(tmp_path)
    for name, value in service.environment.items():
        if name.startswith("REGIONTEXT_"):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.label_studio_url == "http://127.0.0.1:8181"
    assert settings.model_url == "http://127.0.0.1:9292/v1"
    assert (settings.host, settings.port) == ("127.0.0.1", 9191)
    assert settings.reachable_url == "http://127.0.0.1:9191"
    assert settings.basic_auth_user == "user" and settings.holdout == 0.2
    assert settings.webhook_secret is not None
    assert settings.webhook_secret.get_secret_value() == credentials.webhook_secret
    arguments = " ".join(service.command)
    assert "the-key" not in arguments and "word" not in arguments
    assert service.ready_url == "http://127.0.0.1:9191/health"


def test_our_model_server_stays_on_this_machine(options: UpOptions, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    given = replace(options, host="0.0.0.0", model=str(folder))
    service = services.model_service(given, {})
    assert service.command[-4:] == ("--host", "127.0.0.1", "--port", "9292")
    assert service.environment["HF_HUB_OFFLINE"] == "1"
    assert service.ready_url == "http://127.0.0.1:9292/ready"


def test_the_model_server_is_told_of_a_segmenter(
    options: UpOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    given = replace(options, model=str(tmp_path))
    named = services.model_service(given, {"REGIONTEXT_SEGMENTER": "facebook/sam-vit-base"})
    assert named.command[5:7] == ("--segmenter", "facebook/sam-vit-base")
    # It may have to be downloaded.
    assert "HF_HUB_OFFLINE" not in named.environment
    monkeypatch.setattr(services, "_package_folder", lambda _: tmp_path)
    assert "--segmenter" not in services.model_service(given, {}).command
    bundled = tmp_path / "checkpoints" / "regiontext-sam-mini"
    bundled.mkdir(parents=True)
    (bundled / "config.json").write_text("{}")
    service = services.model_service(given, {})
    assert service.command[5:7] == ("--segmenter", str(bundled))
    assert service.environment["HF_HUB_OFFLINE"] == "1"


def test_a_model_is_a_folder_or_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert services.model_argument("good") == str(tmp_path / "good")
    assert services.model_argument("owner/name") == "owner/name"
    with pytest.raises(UpError, match=r"config\.json"):
        services.model_argument("empty")
    for wrong in ("./nothing", "/nothing/there", "nothing", "a/b/c"):
        with pytest.raises(UpError, match="no such folder"):
            services.model_argument(wrong)


@pytest.mark.parametrize(
    ("check", "extra"),
    [
        (services.require_label_studio, "regiontext[label-studio]"),
        (services.require_model, "regiontext[model]"),
    ],
)
def test_a_missing_part_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, check: object, extra: str
) -> None:
    monkeypatch.setattr(services, "_installed", lambda package: False)
    with pytest.raises(MissingPackage) as caught:
        check()  # type: ignore[operator]
    assert f"pip install '{extra}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_secrets_of_the_environment_win_over_those_that_were_made(
    options: UpOptions, credentials: Credentials, tmp_path: Path
) -> None:
    class Seen:
        def __init__(self) -> None:
            self.started: dict[str, Service] = {}

        def start(self, service: Service) -> SimpleNamespace:
            self.started[service.name] = service
            return SimpleNamespace(service=service)

        def until_ready(self, child: SimpleNamespace) -> Iterator[None]:
            return iter(())

        def is_ready(self, child: SimpleNamespace) -> bool:
            return False

    def started(settings: Settings) -> dict[str, Mapping[str, str]]:
        seen: Any = Seen()
        display = Display(Console(file=io.StringIO()))
        for name in ("Label Studio", "backend"):
            display.add(name)
        start = Start(options, settings, credentials, {}, seen, display)
        start._begin_label_studio()
        start._start_backend()
        assert start.credentials == credentials  # what is kept stays as it was
        return {name: service.environment for name, service in seen.started.items()}

    made = started(Settings(_env_file=None, assist_secret="", webhook_secret=""))
    for environment in made.values():
        assert environment["REGIONTEXT_ASSIST_SECRET"] == credentials.assist_secret
    assert made["backend"]["REGIONTEXT_WEBHOOK_SECRET"] == credentials.webhook_secret
    told = started(Settings(_env_file=None, assist_secret="mine", webhook_secret="hook"))
    for environment in told.values():
        assert environment["REGIONTEXT_ASSIST_SECRET"] == "mine"
    assert told["backend"]["REGIONTEXT_WEBHOOK_SECRET"] == "hook"
