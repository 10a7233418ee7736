"""One start of everything, step by step, each shown while it happens.

Label Studio and the model server start together; while the model loads, the project is made; then the
backend starts and is connected. What is there already is kept. Knows the order, leaves each step to
its module.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace

import httpx
from pydantic import SecretStr

from backend import label_studio
from backend.connect import connect
from backend.label_studio_call import Refused, call
from backend.settings import Settings
from backend.up import demo, services
from backend.up.credentials import BACKEND_USER, Connection, Credentials, save
from backend.up.display import Display
from backend.up.models import announced_models
from backend.up.options import EMBEDDED, UpOptions
from backend.up.supervisor import Child, Supervisor
from regiontext.labelstudio.config import parse_config

__all__ = ["Start"]

LABEL_STUDIO, MODEL, PROJECT, BACKEND, CONNECTION = (
    "Label Studio",
    "model server",
    "project",
    "backend",
    "connection",
)


@dataclass
class Start:
    """One start: its parts share the supervisor, the display and the growing credentials."""

    options: UpOptions
    settings: Settings
    credentials: Credentials
    environment: dict[str, str]
    supervisor: Supervisor
    display: Display
    loading: dict[str, Child] = field(default_factory=dict)

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
            if self.options.model_url is not None:
                self._check_model(self.options.model_url)
            label_studio_child = self._begin_label_studio()
            model_child = None if self.options.model_url else self._begin_model()
            known = self.credentials.connection
            painting = None if known and known.samples_added else self._begin_painting()
            if label_studio_child is not None:
                self._wait(LABEL_STUDIO, label_studio_child)
                self._repair_account()
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
                    self.options,
                    self.credentials.account,
                    self.environment,
                    self._secrets().assist_secret if self.options.assistant else "",
                )
            )
            self.loading[LABEL_STUDIO] = child
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

    def _repair_account(self) -> None:
        """Make the embedded Label Studio accept our token, should it not."""
        account = self.credentials.account
        assert account is not None
        with label_studio.client(self._settings()) as client:
            try:
                call(client, "GET", "/api/current-user/whoami")
                return
            except Refused as refused:
                if refused.status not in (401, 403):
                    raise
            self.display.begin(LABEL_STUDIO, "repairing its account")
            job = self.supervisor.start(
                services.account_job(self.options, account, self.environment)
            )
            for _ in self.supervisor.until_done(job):
                pass
            call(client, "GET", "/api/current-user/whoami")
        self.display.done(LABEL_STUDIO, f"{self.options.own_label_studio_url}, account repaired")

    def _begin_model(self) -> Child:
        child = self.supervisor.start(services.model_service(self.options, self.environment))
        self.loading[MODEL] = child
        self.display.begin(MODEL, "loading")
        return child

    def _check_model(self, url: str) -> None:
        self.display.begin(MODEL, f"checking {url}")
        names = announced_models(self.settings.model_copy(update={"model_url": url}))
        self.display.done(MODEL, f"{url} ({', '.join(names[:3])})")

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
                self.options, self._secrets(), self._basic_auth(), self.environment
            )
        )
        self.loading[BACKEND] = child
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
                secret=self._secrets().webhook_secret,
                basic_auth=self._basic_auth(),
                note=lambda text: self.display.note(CONNECTION, text),
            )
        said = "; ".join(connected.changes) or (
            "connected" if connected.backend == "created" else "as it was"
        )
        self.display.done(CONNECTION, said)

    def _wait(self, name: str, child: Child) -> None:
        """Wait for one service; others that become ready meanwhile are shown so at once."""
        for _ in self.supervisor.until_ready(child):
            for other, service in tuple(self.loading.items()):
                if other != name and self.supervisor.is_ready(service):
                    self._show_ready(other)
        self._show_ready(name)

    def _show_ready(self, name: str) -> None:
        child = self.loading.pop(name, None)
        if child is not None:
            self.display.done(name, child.service.ready_url.rsplit("/", 1)[0])

    def _remember(self, connection: Connection) -> None:
        self.credentials = self.credentials.with_connection(connection)
        save(self.credentials, self.options.data_dir)

    def _secrets(self) -> Credentials:
        """Return the credentials with the secrets that the settings name, which win over ours and are not kept."""
        kept, assist, webhook = (
            self.credentials,
            self.settings.assist_secret,
            self.settings.webhook_secret,
        )
        return replace(
            kept,
            assist_secret=assist.get_secret_value() if assist else kept.assist_secret,
            webhook_secret=webhook.get_secret_value() if webhook else kept.webhook_secret,
        )

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
