"""What the backend can be told, by environment variables, a `.env` file or keyword arguments.

Every variable is named `REGIONTEXT_` plus the field's name in capitals; the address and key of
Label Studio are also read under the names its own tools use (`LABEL_STUDIO_URL`,
`LABEL_STUDIO_API_KEY`). Knows nothing of how the values are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from regiontext.errors import MarkError
from regiontext.marks.view import View

__all__ = ["DEFAULT_DATA_DIR", "Settings"]

DEFAULT_DATA_DIR = Path("regiontext-data")
"""In the folder where a command is started."""


class Settings(BaseSettings):
    """Settings of one backend process; immutable once read."""

    model_config = SettingsConfigDict(
        env_prefix="REGIONTEXT_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    label_studio_url: str = Field(
        default="http://localhost:8080",
        validation_alias=AliasChoices("REGIONTEXT_LABEL_STUDIO_URL", "LABEL_STUDIO_URL"),
        description="Where Label Studio is reached from here (in compose: the service name).",
    )
    label_studio_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REGIONTEXT_LABEL_STUDIO_API_KEY", "LABEL_STUDIO_API_KEY"),
        description="A personal access token, or a legacy token, of a user who sees the projects.",
    )

    model_url: str = Field(
        default="http://127.0.0.1:9200/v1", description="An OpenAI-compatible server."
    )
    model_api_key: SecretStr | None = Field(
        default=None, description="The key that the model's server asks for, if it does."
    )
    model_admin_key: SecretStr | None = Field(
        default=None,
        description="Asked for by a model server whose adapters not everybody may load.",
    )
    segmenter_url: str | None = Field(
        default=None,
        description="The server that makes masks of clicks, if it is not the model's: its address with /v1.",
    )
    segmenter_api_key: SecretStr | None = Field(
        default=None, description="The key that the segmenter's server asks for, if it does."
    )
    model: str | None = Field(
        default=None, description="The model to ask; empty: the first one the server announces."
    )
    model_concurrency: int = Field(
        default=8, ge=1, description="Questions in flight at once, per call."
    )
    max_tokens: int = Field(
        default=48, ge=1, description="Longest answer to an open question, in tokens."
    )

    view: dict[str, Any] | None = Field(
        default=None,
        description="How regions are shown to the model, as JSON (docs/marks.md); empty: as it announces.",
    )

    data_dir: Path = Field(
        default=DEFAULT_DATA_DIR,
        description="The data folder: SQLite's database, keys, runs, adapters and logs.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL; empty: SQLite in data_dir (regiontext-data/regiontext.db).",
    )

    host: str = Field(
        default="127.0.0.1",
        description="Address that the backend listens on; 0.0.0.0 lets other machines in.",
    )
    port: int = Field(default=9090, ge=1, le=65535, description="Port that the backend listens on.")
    public_url: str | None = Field(
        default=None,
        description="Where Label Studio reaches this backend; empty: http://HOST:PORT.",
    )

    budget_s: float = Field(
        default=8.0, gt=0, description="Longest a /predict call may take, in seconds."
    )
    pending_s: float = Field(
        default=60.0,
        ge=0,
        description="How long a drawn region that Label Studio has not saved is echoed.",
    )
    collect_every_s: float = Field(
        default=3600.0,
        ge=0,
        description="How often Label Studio is asked for what webhooks missed, in seconds; 0: never.",
    )
    collect_first_s: float = Field(
        default=30.0, ge=0, description="How long after the start it is asked first, at most."
    )
    holdout: float = Field(
        default=0.1, ge=0, le=1, description="Share of images never pre-filled nor trained on."
    )
    control: float = Field(
        default=0.1, ge=0, le=1, description="Share of images not pre-filled, on purpose."
    )
    trap_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of suggestions that are wrong on purpose, to measure over-reliance (docs/metrics.md).",
    )
    arm_salt: str = Field(
        default="", description="Changes which images are drawn into holdout and control."
    )

    assist_secret: SecretStr | None = Field(
        default=None,
        description="What the assistant inside Label Studio shows with each request; empty: it is off.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="Value of the X-Regiontext-Secret header that Label Studio sends to /webhook.",
    )
    basic_auth_user: str | None = Field(
        default=None,
        description="Name that the backend asks everybody for, Label Studio included, and the report's readers.",
    )
    basic_auth_password: SecretStr | None = Field(
        default=None, description="The password that goes with that name."
    )

    allowed_image_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts other than Label Studio that images may come from, comma separated.",
    )
    allow_private_image_hosts: bool = Field(
        default=False, description="Whether those hosts may be in your own network."
    )
    max_image_bytes: int = Field(
        default=64 * 2**20, ge=1, description="Largest image file that is fetched, in bytes."
    )
    image_cache_bytes: int = Field(
        default=256 * 2**20, ge=0, description="Images kept in memory, in bytes."
    )

    log_level: str = Field(
        default="INFO", description="Least that is logged: DEBUG, INFO, WARNING or ERROR."
    )

    @field_validator("allowed_image_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.split(",")
        if isinstance(value, (list, tuple)):
            return tuple(host for host in (str(v).strip().lower() for v in value) if host)
        return value

    @field_validator("label_studio_url", "model_url", "segmenter_url", "public_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is not an address: it must start with http:// or https://")
        return value.rstrip("/") if value else value

    @field_validator("view", mode="before")
    @classmethod
    def _some_view(cls, value: object) -> object:
        return value if value != "" else None

    @field_validator("view")
    @classmethod
    def _drawable(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        try:
            return View.from_dict(value).to_dict()
        except (MarkError, TypeError) as error:
            raise ValueError(f"the view cannot be drawn: {error}") from error

    @field_validator(
        "label_studio_api_key", "model_api_key", "model_admin_key", "segmenter_api_key"
    )
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        """Without the white space around it; a key that no header takes would be quoted in the error of sending it."""
        key = value.get_secret_value().strip() if value is not None else ""
        if not all("!" <= sign <= "~" for sign in key):
            raise ValueError(
                "a key holds only letters, digits and signs of ASCII, without spaces or line breaks"
            )
        return SecretStr(key) if key else None

    @field_validator("assist_secret", "webhook_secret", "basic_auth_password")
    @classmethod
    def _no_empty_secret(cls, value: SecretStr | None) -> SecretStr | None:
        # An empty variable in a compose file means "not set", not "the empty secret".
        return value if value is not None and value.get_secret_value() else None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.holdout + self.control > 1:
            raise ValueError(
                f"holdout ({self.holdout}) and control ({self.control}) together exceed 1: "
                "lower REGIONTEXT_HOLDOUT or REGIONTEXT_CONTROL"
            )
        if bool(self.basic_auth_user) != (self.basic_auth_password is not None):
            raise ValueError(
                "basic auth needs both REGIONTEXT_BASIC_AUTH_USER and "
                "REGIONTEXT_BASIC_AUTH_PASSWORD"
            )
        if not self.database_url:
            url = f"sqlite:///{(self.data_dir / 'regiontext.db').as_posix()}"
            object.__setattr__(self, "database_url", url)
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that is set, in plain text: what no log may hold."""
        values = (getattr(self, name) for name in type(self).model_fields)
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        password = urlsplit(self.database_url).password
        return (*secrets, password, unquote(password)) if password else tuple(secrets)

    @property
    def reachable_url(self) -> str:
        """The address Label Studio is told to call."""
        return self.public_url or f"http://{self.host}:{self.port}"
