"""docs/settings.md, from the fields of `Settings`: python -m backend.settings_page > docs/settings.md."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from backend.settings import Settings

__all__ = ["page"]

_HEAD = """# Settings

Every setting of the backend and of the commands is an environment variable, or a line of a file `.env` in the folder
where the command is started. An option of a command wins over the variable, the variable over what `regiontext up` and
`regiontext connect` kept in `credentials.json` of the data folder, and that over the default. An empty secret or key
counts as not set.

`regiontext up` tells what it starts where to listen and whom to call: there use its options (`regiontext up --help`) in
the place of `REGIONTEXT_LABEL_STUDIO_URL`, `_MODEL_URL`, `_HOST`, `_PORT` and `_PUBLIC_URL`.
"""
# Each part begins with this field.
_PARTS = {
    "label_studio_url": "Label Studio",
    "model_url": "The model",
    "data_dir": "Where things are kept",
    "host": "Where the backend listens",
    "budget_s": "Answering and collecting",
    "holdout": "Arms",
    "assist_secret": "Who may call",
    "allowed_image_hosts": "Images",
    "log_level": "Logs",
}
_TAIL = """
## Variables that others read

* Our model server: `REGIONTEXT_MODEL_API_KEY` and `REGIONTEXT_MODEL_ADMIN_KEY` are the keys that it asks for
  ([models.md](models.md)).
* `regiontext up`: `REGIONTEXT_SEGMENTER` is the SAM that its model server loads ([models.md](models.md)).
* Label Studio: `REGIONTEXT_BACKEND_URL` and `REGIONTEXT_ASSIST_SECRET`, for the assistant in its page
  ([plugin.md](plugin.md)).
* `regiontext evaluate`: `REGIONTEXT_JUDGE_URL`, `REGIONTEXT_JUDGE_MODEL` and `REGIONTEXT_JUDGE_API_KEY` name the judge
  ([metrics.md](metrics.md)).
* Every command: `REGIONTEXT_DEBUG=1` shows whole traces of errors, as `--debug` does.
"""


def page() -> str:
    """Return the whole text of docs/settings.md."""
    return _HEAD + "\n".join(_tables()) + "\n" + _TAIL


def _tables() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in _PARTS:
            yield f"\n## {_PARTS[name]}\n"
            yield "| variable | default | |\n| --- | --- | --- |"
        yield f"| {_names(name, field)} | {_default(field)} | {field.description} |"


def _names(name: str, field: FieldInfo) -> str:
    aliases = field.validation_alias
    names = aliases.choices if isinstance(aliases, AliasChoices) else [f"REGIONTEXT_{name.upper()}"]
    return " or ".join(f"`{one}`" for one in names)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ("", ()):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(page(), end="")
