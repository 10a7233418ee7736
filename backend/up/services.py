"""How each child of `regiontext up` is started: commands, environments, what says that it is ready.

Knows no processes: it only describes them. The three services are separate programs that meet over
HTTP; this is the one place that knows all their command lines.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from backend.up.credentials import Account, Credentials
from backend.up.demo import painting_command
from backend.up.errors import MissingPackage, UpError
from backend.up.options import UpOptions
from backend.up.ports import reachable_host
from backend.up.supervisor import Service

__all__ = [
    "account_job",
    "backend_service",
    "label_studio_service",
    "model_argument",
    "model_service",
    "own_environment",
    "painting_job",
    "require_label_studio",
    "require_model",
    "samples_folder",
]

# Label Studio reads settings under bare names too; these mean something else in most shells.
_NOT_FOR_LABEL_STUDIO = frozenset(
    {
        *("CI", "DEBUG", "HOST", "PORT", "USERNAME", "PASSWORD", "USER_TOKEN", "LOG_LEVEL"),
        *("DATABASE_NAME", "DJANGO_DB", "DJANGO_SETTINGS_MODULE", "STORAGE_TYPE"),
    }
)
# Label Studio's own list of addresses it does not call, without the loopback, where we live.
_CLOSED_SUBNETS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128"),
    *("64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:20::/28"),
    *("2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
)


def require_label_studio() -> None:
    """Raise MissingPackage unless Label Studio can be started here."""
    if not _installed("label_studio"):
        raise MissingPackage(
            "Label Studio is not installed here: pip install 'regiontext[label-studio]', "
            "or use one that runs already with --label-studio-url URL --api-key KEY"
        )


def require_model() -> None:
    """Raise MissingPackage unless our model server can be started here."""
    missing = [name for name in ("torch", "transformers", "peft") if not _installed(name)]
    if missing:
        raise MissingPackage(
            f"the model server needs {', '.join(missing)}: pip install 'regiontext[model]', "
            "or use any OpenAI-compatible server with --model-url URL"
        )


def model_argument(model: str | None) -> str:
    """Return what the model server is told to serve: an absolute folder, or the hub id as it is.

    Raises UpError when a path is given that is no model folder, or when the bundled model is not there.
    """
    if model is None:
        folder = _package_folder("model_server") / "checkpoints" / "regiontext-mini"
        if not (folder / "config.json").is_file():
            raise UpError(
                f"the bundled model is not in {folder}: name another with --model PATH_OR_HUB_ID, "
                "or a server that runs already with --model-url URL"
            )
        return str(folder)
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UpError(f"--model {model}: that folder has no config.json, so it is no model")
        return str(path.resolve())
    looks_like_a_path = model.startswith((".", "/", "~")) or model.count("/") != 1
    if looks_like_a_path:
        raise UpError(
            f"--model {model}: there is no such folder, and a hub id looks like OWNER/NAME"
        )
    return model


def label_studio_service(
    options: UpOptions, account: Account, environment: Mapping[str, str], assist_secret: str = ""
) -> Service:
    """Describe the embedded Label Studio: SQLite and files in the data folder, no calls to the outside.

    `assist_secret` is what the assistant in its page and the backend know each other by; empty: no assistant.
    """
    data = (options.data_dir / "label-studio").resolve()
    own = {k: v for k, v in environment.items() if k not in _NOT_FOR_LABEL_STUDIO}
    own.setdefault("ML_TIMEOUT_HEALTH", "5")
    own.setdefault("ML_TIMEOUT_SETUP", "10")
    own |= {
        "DJANGO_SETTINGS_MODULE": "backend.up.label_studio_settings",
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": account.username,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "USER_ADDITIONAL_BANNED_SUBNETS": ",".join(_closed_subnets(options.own_backend_url)),
        "REGIONTEXT_BACKEND_URL": f"http://{reachable_host(options.host)}:{options.port}",
        "REGIONTEXT_ASSIST_SECRET": assist_secret,
        "COLLECT_ANALYTICS": "False",
        "LATEST_VERSION_CHECK": "False",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    command = (
        # -P: Label Studio has top-level packages named "core" and "users", which a folder here may be named too.
        *(sys.executable, "-P", "-m", "label_studio.server", "start", "--no-browser"),
        *("--internal-host", options.host, "--port", str(options.label_studio_port)),
        *("--data-dir", str(data), "--enable-legacy-api-token"),
    )
    return Service(
        name="Label Studio",
        command=command,
        environment=own,
        log=options.data_dir / "logs" / "label-studio.log",
        ready_url=f"{options.own_label_studio_url}/health",
        limit_s=600,
        grace_s=5,
    )


def account_job(options: UpOptions, account: Account, environment: Mapping[str, str]) -> Service:
    """Describe the job that makes the embedded Label Studio accept our token again.

    A password that nobody was shown is set too: then no human can have chosen another.
    """
    own = dict(label_studio_service(options, account, environment).environment)
    if not account.shown:
        own["REGIONTEXT_SET_PASSWORD"] = "1"
    return Service(
        name="account",
        command=(sys.executable, "-P", "-m", "backend.up.label_studio_account"),
        environment=own,
        log=options.data_dir / "logs" / "account.log",
        limit_s=120,
    )


def model_service(options: UpOptions, environment: Mapping[str, str]) -> Service:
    """Describe our model server."""
    model = model_argument(options.model)
    own = {**environment, "HF_HUB_DISABLE_TELEMETRY": "1"}
    segmenter = _segmenter(environment)
    if Path(model).is_dir() and (not segmenter or Path(segmenter).exists()):
        own |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return Service(
        name="model server",
        command=(
            *(sys.executable, "-m", "model_server", "--model", model),
            *(("--segmenter", segmenter) if segmenter else ()),
            *("--host", "127.0.0.1", "--port", str(options.model_port)),
        ),
        environment=own,
        log=options.data_dir / "logs" / "model-server.log",
        ready_url=f"{options.own_model_url}/ready",
        # A model from the hub is downloaded first.
        limit_s=600 if Path(model).is_dir() else 3600,
    )


def backend_service(
    options: UpOptions,
    credentials: Credentials,
    basic_auth: tuple[str, str],
    environment: Mapping[str, str],
) -> Service:
    """Describe the backend; `credentials` holds the connection it is to use."""
    connection = credentials.connection
    if connection is None:
        raise ValueError("the backend needs a connection to Label Studio first")
    own = dict(environment)
    own |= {
        "REGIONTEXT_LABEL_STUDIO_URL": connection.label_studio_url,
        "REGIONTEXT_LABEL_STUDIO_API_KEY": connection.label_studio_api_key,
        "REGIONTEXT_MODEL_URL": connection.model_url or f"{options.own_model_url}/v1",
        "REGIONTEXT_DATA_DIR": str(options.data_dir),
        "REGIONTEXT_HOST": options.host,
        "REGIONTEXT_PORT": str(options.port),
        "REGIONTEXT_PUBLIC_URL": connection.backend_url or options.own_backend_url,
        "REGIONTEXT_WEBHOOK_SECRET": credentials.webhook_secret,
        "REGIONTEXT_ASSIST_SECRET": credentials.assist_secret,
        "REGIONTEXT_BASIC_AUTH_USER": basic_auth[0],
        "REGIONTEXT_BASIC_AUTH_PASSWORD": basic_auth[1],
    }
    if options.model_url and options.model:
        own["REGIONTEXT_MODEL"] = options.model
    return Service(
        name="backend",
        command=(sys.executable, "-m", "backend.cli", "serve", "--data-dir", str(options.data_dir)),
        environment=own,
        log=options.data_dir / "logs" / "backend.log",
        ready_url=f"http://{reachable_host(options.host)}:{options.port}/health",
        limit_s=120,
        grace_s=12,
    )


def painting_job(options: UpOptions, environment: Mapping[str, str]) -> Service:
    """Describe the job that paints the sample scenes into `samples_folder(options)`."""
    return Service(
        name="sample scenes",
        command=painting_command(samples_folder(options)),
        environment=environment,
        log=options.data_dir / "logs" / "samples.log",
        limit_s=300,
    )


def samples_folder(options: UpOptions) -> Path:
    """Return where the sample scenes lie until they are uploaded."""
    return options.data_dir / "samples"


def own_environment() -> dict[str, str]:
    """Return the environment the children start from: this process's, with Python's output unbuffered."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _segmenter(environment: Mapping[str, str]) -> str:
    """Return what makes masks of clicks: what REGIONTEXT_SEGMENTER names, else the bundled one; empty without one."""
    if named := environment.get("REGIONTEXT_SEGMENTER", ""):
        return named
    folder = _package_folder("model_server") / "checkpoints" / "regiontext-sam-mini"
    return str(folder) if (folder / "config.json").is_file() else ""


def _closed_subnets(backend_url: str) -> list[str]:
    """Return the subnets that Label Studio stays away from: all reserved ones but the backend's own."""
    host = backend_url.split("://", 1)[1].rsplit(":", 1)[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return list(_CLOSED_SUBNETS)
    return [net for net in _CLOSED_SUBNETS if address not in ipaddress.ip_network(net)]


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _package_folder(package: str) -> Path:
    """Return where a package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(f"the package {package} is missing: reinstall regiontext")
    return Path(next(iter(spec.submodule_search_locations)))
