"""What is checked before anything starts, and the credentials that a start goes on with."""

from __future__ import annotations

from dataclasses import replace

from backend.settings import Settings
from backend.up import services
from backend.up.credentials import Account, Connection, Credentials, load, save
from backend.up.errors import UpError
from backend.up.options import EMBEDDED, UpOptions
from backend.up.ports import check_ports

__all__ = ["prepare"]


def prepare(options: UpOptions, settings: Settings) -> Credentials:
    """Check what can be checked before anything starts; return (and keep) the credentials of this run."""
    credentials = load(options.data_dir) or Credentials.new()
    wanted: dict[str, tuple[str, int, str]] = {}
    if options.server == EMBEDDED:
        services.require_label_studio()
        wanted["Label Studio"] = (options.host, options.label_studio_port, "--label-studio-port")
        account: Account | None = credentials.account or Account.new()
        assert account is not None
        url, key = options.own_label_studio_url, account.token
    else:
        account = credentials.account
        url, key = options.server, _existing_key(options, credentials, settings)
    if options.model_url is None:
        services.require_model()
        services.model_argument(options.model)
        wanted["model server"] = ("127.0.0.1", options.model_port, "--model-port")
    wanted["backend"] = (options.host, options.port, "--port")
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
