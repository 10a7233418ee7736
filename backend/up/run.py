"""`regiontext up`, from the first check to the last child stopped.

Label Studio and the model server start together; while they load, the project is made; then the backend starts and is
connected. What is there already is kept. Knows the order, leaves each step to its module.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass, replace

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from backend import label_studio
from backend.connect import call, connect
from backend.errors import BackendError
from backend.settings import Settings
from backend.up import demo, services
from backend.up.credentials import BACKEND_USER, Account, Connection, Credentials, load, save
from backend.up.display import Display
from backend.up.errors import ServiceFailed, UpError
from backend.up.finish import open_browser, show_ready
from backend.up.lock import only_one
from backend.up.models import announced_models
from backend.up.options import EMBEDDED, UpOptions
from backend.up.ports import check_ports
from backend.up.settings import read_settings
from backend.up.signals import Signals, StopRequested
from backend.up.supervisor import Child, Supervisor
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import parse_config

__all__ = ["up"]

LABEL_STUDIO, MODEL, PROJECT, BACKEND, CONNECTION = (
    "Label Studio",
    "model server",
    "project",
    "backend",
    "connection",
)
_WATCH_S = 0.5


def up(options: UpOptions, console: Console) -> int:
    """Run everything until it is told to stop; return the exit status.

    0 after Ctrl-C or SIGTERM, 1 when something could not start or died (said in one line, with the end of its log).
    Raises BackendError or RegiontextError for what is wrong before anything has started.
    """
    if os.name != "posix":
        raise UpError("regiontext up runs on Linux and macOS; on Windows use WSL or docker compose")
    settings = read_settings()
    waiting = "a run that was killed is still being stopped, waiting for it"
    with (
        Signals() as signals,
        only_one(options.data_dir, on_wait=lambda: console.print(waiting)) as lock,
    ):
        credentials = _prepare(options, settings)
        supervisor = Supervisor(
            on_stop=lambda name: _say(console, f"stopping {name}"),
            uninterrupted=signals.uninterrupted,
            keep_open=(lock,),
        )
        signals.on_repeat = supervisor.hurry
        # Signals raise only inside `raising`: the stop that follows is never cut short.
        with supervisor:
            try:
                with signals.raising():
                    environment = services.own_environment()
                    with Display(console) as display:
                        start = _Start(
                            options, settings, credentials, environment, supervisor, display
                        )
                        credentials = start.run()
                    _welcome(options, credentials, console)
                    while True:
                        supervisor.check()
                        time.sleep(_WATCH_S)
            except StopRequested:
                return 0
            except (BackendError, RegiontextError) as error:
                _report(error, console)
                return 1


@dataclass
class _Start:
    """One start: its parts share the supervisor, the display and the growing credentials."""

    options: UpOptions
    settings: Settings
    credentials: Credentials
    environment: dict[str, str]
    supervisor: Supervisor
    display: Display

    def run(self) -> Credentials:
        """Start everything and return the credentials with the connection filled in."""
        logs = self.options.data_dir / "logs"
        embedded = self.options.server == EMBEDDED
        self.display.add(LABEL_STUDIO, log=logs / "label-studio.log" if embedded else None)
        self.display.add(MODEL, log=None if self.options.model_url else logs / "model-server.log")
        self.display.add(PROJECT)
        self.display.add(BACKEND, log=logs / "backend.log")
        self.display.add(CONNECTION)
        try:
            label_studio_child = self._begin_label_studio()
            model_child = self._begin_model()
            known = self.credentials.connection
            painting = None if known and known.samples_added else self._begin_painting()
            if label_studio_child is not None:
                self._wait(LABEL_STUDIO, label_studio_child)
            connection = self._make_project(painting)
            if model_child is not None:
                self._wait(MODEL, model_child)
            self._start_backend()
            self._connect(connection)
        except Exception:
            self.display.fail_running()
            raise
        return self.credentials

    def _begin_label_studio(self) -> Child | None:
        if self.credentials.account is not None and self.options.server == EMBEDDED:
            first = not (self.options.data_dir / "label-studio" / "label_studio.sqlite3").exists()
            child = self.supervisor.start(
                services.label_studio_service(
                    self.options, self.credentials.account, self.environment
                )
            )
            self.display.begin(
                LABEL_STUDIO,
                "making its database (first start only)" if first else "starting",
            )
            return child
        url = self.options.server
        self.display.begin(LABEL_STUDIO, f"checking {url}")
        user = label_studio.whoami(self._settings())
        self.display.done(LABEL_STUDIO, f"{url} as {user.get('email', '?')}")
        return None

    def _begin_model(self) -> Child | None:
        if self.options.model_url is None:
            child = self.supervisor.start(services.model_service(self.options, self.environment))
            self.display.begin(MODEL, "loading")
            return child
        self.display.begin(MODEL, f"checking {self.options.model_url}")
        names = announced_models(
            self.settings.model_copy(update={"model_url": self.options.model_url})
        )
        self.display.done(MODEL, f"{self.options.model_url} ({', '.join(names[:3])})")
        return None

    def _begin_painting(self) -> Child:
        return self.supervisor.start(services.painting_job(self.options, self.environment))

    def _make_project(self, painting: Child | None) -> Connection:
        """Make or find the project, with its sample scenes, and remember it at once."""
        connection = self.credentials.connection
        assert connection is not None
        self.display.begin(PROJECT, "looking for it")
        with label_studio.client(self._settings()) as client:
            number, made = demo.ensure_project(
                client, remembered=connection.project, title=self.options.project_title
            )
            if number != connection.project:
                connection = replace(connection, project=number, samples_added=False)
                self._remember(connection)
            if not connection.samples_added:
                painting = painting or self._begin_painting()
                self.display.note(PROJECT, "painting sample scenes")
                for _ in self.supervisor.until_done(painting):
                    pass
                self._upload(client, number)
                connection = replace(connection, samples_added=True)
                self._remember(connection)
        self.display.done(PROJECT, f"{number} {'made' if made else 'found'}")
        return connection

    def _upload(self, client: httpx.Client, project: int) -> None:
        folder = services.samples_folder(self.options)
        scenes = demo.choose(
            folder,
            holdout=self.settings.holdout,
            control=self.settings.control,
            salt=self.settings.arm_salt,
        )
        found = call(client, "GET", f"/api/projects/{project}/")
        demo.add_samples(
            client,
            project,
            scenes,
            parse_config(found["label_config"]),
            note=lambda text: self.display.note(PROJECT, text),
        )
        shutil.rmtree(folder, ignore_errors=True)

    def _start_backend(self) -> None:
        child = self.supervisor.start(
            services.backend_service(
                self.options, self.credentials, self._basic_auth(), self.environment
            )
        )
        self.display.begin(BACKEND)
        self._wait(BACKEND, child)

    def _connect(self, connection: Connection) -> None:
        assert connection.project is not None and connection.backend_url is not None
        self.display.begin(CONNECTION, "connecting")
        with label_studio.client(self._settings(), timeout=60) as client:
            connected = connect(
                client,
                connection.project,
                connection.backend_url,
                secret=self.credentials.webhook_secret,
                basic_auth=self._basic_auth(),
                note=lambda text: self.display.note(CONNECTION, text),
            )
        said = "; ".join(connected.changes) or (
            "connected" if connected.backend == "created" else "as it was"
        )
        self.display.done(CONNECTION, said)

    def _wait(self, name: str, child: Child) -> None:
        for _ in self.supervisor.until_ready(child):
            pass
        self.display.done(name, f"{child.service.ready_url.rsplit('/', 1)[0]}")

    def _remember(self, connection: Connection) -> None:
        self.credentials = self.credentials.with_connection(connection)
        save(self.credentials, self.options.data_dir)

    def _basic_auth(self) -> tuple[str, str]:
        """Return the name and password Label Studio uses with the backend: as set, else ours."""
        user, password = self.settings.basic_auth_user, self.settings.basic_auth_password
        if user and password is not None:
            return user, password.get_secret_value()
        return BACKEND_USER, self.credentials.backend_password

    def _settings(self) -> Settings:
        """Return settings that point at the Label Studio of this run."""
        connection = self.credentials.connection
        assert connection is not None
        return self.settings.model_copy(
            update={
                "label_studio_url": connection.label_studio_url,
                "label_studio_api_key": SecretStr(connection.label_studio_api_key),
            }
        )


def _prepare(options: UpOptions, settings: Settings) -> Credentials:
    """Check what can be checked before anything starts; return (and keep) the credentials of this run."""
    credentials = load(options.data_dir) or Credentials.new()
    wanted: dict[str, tuple[str, int, str]] = {}
    if options.server == EMBEDDED:
        services.require_label_studio()
        wanted[LABEL_STUDIO] = (options.host, options.label_studio_port, "--label-studio-port")
        account: Account | None = credentials.account or _new_account(options)
        assert account is not None
        url, key = options.own_label_studio_url, account.token
    else:
        account = credentials.account
        url, key = options.server, _existing_key(options, credentials, settings)
    if options.model_url is None:
        services.require_model()
        services.model_argument(options.model)
        wanted[MODEL] = ("127.0.0.1", options.model_port, "--model-port")
    wanted[BACKEND] = (options.host, options.port, "--port")
    check_ports(wanted)

    known = credentials.connection
    same = known is not None and known.server == options.server
    connection = Connection(
        server=options.server,
        label_studio_url=url,
        label_studio_api_key=key,
        project=known.project if known is not None and same else None,
        samples_added=known.samples_added if known is not None and same else False,
        backend_url=(options.backend_url or options.own_backend_url).rstrip("/"),
        model_url=options.model_url or f"{options.own_model_url}/v1",
    )
    credentials = replace(credentials, account=account, connection=connection)
    # Before Label Studio starts: the account it makes must not be lost, whatever happens next.
    save(credentials, options.data_dir)
    return credentials


def _new_account(options: UpOptions) -> Account:
    if (options.data_dir / "label-studio" / "label_studio.sqlite3").exists():
        raise UpError(
            f"{options.data_dir} has Label Studio's database but no credentials.json for it: "
            "restore that file, or choose another folder with --data-dir"
        )
    return Account.new()


def _existing_key(options: UpOptions, credentials: Credentials, settings: Settings) -> str:
    if options.api_key:
        return options.api_key
    known = credentials.connection
    if known is not None and known.server == options.server:
        return known.label_studio_api_key
    if settings.label_studio_api_key is not None:
        return settings.label_studio_api_key.get_secret_value()
    raise UpError(
        f"--label-studio-url {options.server} needs --api-key KEY: a personal access token from "
        "Account & Settings there"
    )


def _welcome(options: UpOptions, credentials: Credentials, console: Console) -> None:
    account = credentials.account
    url = show_ready(options, credentials, console)
    if account is not None and not account.shown and options.server == EMBEDDED:
        save(replace(credentials, account=replace(account, shown=True)), options.data_dir)
    if options.browser:
        open_browser(url)


def _say(console: Console, text: str) -> None:
    # The terminal may be gone; the children still have to be stopped.
    with contextlib.suppress(OSError):
        console.print(text, highlight=False)


def _report(error: Exception, console: Console) -> None:
    """Say in one line what went wrong, and show the end of the log when there is one."""
    with contextlib.suppress(OSError):
        console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        if isinstance(error, ServiceFailed):
            console.print(Text(f"last lines of {error.log}:", "dim"), soft_wrap=True)
            for line in error.tail:
                console.print(Text(f"  {_readable(line)}", "dim"), soft_wrap=True)


def _readable(line: str) -> str:
    """Return a log line as a person reads it: the backend's are JSON."""
    try:
        found = json.loads(line)
        return f"{found['time'][11:19]} {found['level']} {found['message']}"
    except (ValueError, KeyError, TypeError):
        return line
