"""Where a model is, and what its `regiontext.json` says about it.

A model is a Hugging Face checkpoint folder or a hub id. `regiontext.json` in the folder is optional;
without it the model is taken as one that reads marks drawn on the image ("overlay"). Knows nothing
of torch: the server reads this before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from model_server.errors import ModelFolderError

__all__ = ["BUNDLED", "ModelFolder", "find_model", "lineage"]

BUNDLED = Path(__file__).parent / "checkpoints" / "regiontext-mini"
"""The model that ships with the package."""

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_LORA_TARGETS = ("language", "all")
_RELATION_SENTENCES = ("asked", "composed")


@dataclass(frozen=True)
class ModelFolder:
    """A model's place and its announced properties.

    Attributes:
        source: absolute folder, or hub id ``owner/name``.
        name: the id under which it is served.
        region_input: how it takes a region; ``overlay`` means marks drawn on the image.
        view: the View it was trained with, as a dict, or None when any will do.
        max_regions: how many marked regions one question may refer to.
        relation_sentences: ``asked`` of the model, or ``composed`` by the client from captions and
            the relation, for models too small to phrase a pair.
        world: name, version and seed of the generated world it was trained on, or None.
        lora_targets: what fine-tuning adapts unless told otherwise, ``language`` or ``all``.
        finetune: recommended fine-tuning settings that differ from the defaults.
    """

    source: str
    name: str
    region_input: str = "overlay"
    view: Mapping[str, Any] | None = None
    max_regions: int = 2
    relation_sentences: str = "asked"
    world: Mapping[str, Any] | None = None
    lora_targets: str = "language"
    finetune: Mapping[str, Any] | None = None


def find_model(model: str | Path, *, name: str | None = None) -> ModelFolder:
    """Resolve `--model`: a folder with a config.json, or a hub id ``owner/name``.

    A hub id is not fetched here. Raises ModelFolderError when it is neither, or when the folder's
    `regiontext.json` is not usable.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelFolderError(
                f"{path} has no config.json, so it is not a model folder. Pass a folder written by "
                "save_pretrained, or a hub id such as llava-hf/vip-llava-7b-hf."
            )
        return _described(path.resolve(), name)
    text = str(model)
    if _HUB_ID.fullmatch(text) and not path.exists():
        return ModelFolder(source=text, name=name or text.rsplit("/", 1)[1])
    raise ModelFolderError(
        f"No model at {text!r}. Pass the path of a folder with a config.json, or a hub id such as "
        "llava-hf/vip-llava-7b-hf."
    )


def lineage(path: Path) -> dict[str, Any]:
    """Where an adapter in folder `path` comes from, as far as its files tell; None stands for what they do not.

    Returns:
        base: hub id of the model it belongs to, or the name of that model's folder (its place is nobody's business).
        rank: of the LoRA matrices.
        sha256: of its weights.
        run: what the fine-tuning that made it wrote into ``run.json``, None for an adapter from elsewhere:
            ``base_name`` it was trained on, ``data_sha256`` of the training files, ``counts`` of examples (new, wrong
            before, replay, pairs), ``steps`` of the optimiser, ``targets``, ``seed``, the ``loss`` (first, last),
            ``seconds`` it took, ``versions`` of the libraries.
    """
    found: dict[str, Any] = {"base": None, "rank": None, "sha256": None, "run": None}
    weights = path / "adapter_model.safetensors"
    with suppress(OSError, ValueError, AttributeError):
        config = _read_json(path / "adapter_config.json")
        base = config.get("base_model_name_or_path")
        found |= {"base": _named(base) if isinstance(base, str) else None, "rank": config.get("r")}
    with suppress(OSError), weights.open("rb") as file:
        found["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    with suppress(OSError, ValueError):
        run = _read_json(path / "run.json")
        found["run"] = _told_of(run) if isinstance(run, dict) else None
    return found


def _read_json(file: Path) -> Any:
    # A loss that was no number is nothing: JSON, which it is told in, has no word for it.
    return json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda _: None)


def _named(base: str) -> str:
    if _HUB_ID.fullmatch(base) and not Path(base).exists():
        return base
    return PurePath(base.replace("\\", "/")).name


def _told_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run.json others may know: figures and names that are asked for one by one, no paths."""
    settings = run.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    name = run.get("base_name")
    return {
        "base_name": _named(name) if isinstance(name, str) else None,
        "data_sha256": run.get("data_sha256"),
        "counts": run.get("counts"),
        "steps": settings.get("steps"),
        "targets": settings.get("targets"),
        "seed": run.get("seed"),
        "loss": run.get("loss"),
        "seconds": run.get("seconds"),
        "versions": run.get("versions"),
    }


def _described(path: Path, name: str | None) -> ModelFolder:
    file = path / "regiontext.json"
    if not file.is_file():
        return ModelFolder(source=str(path), name=name or path.name)
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFolderError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(facts, dict):
        raise ModelFolderError(f"{file} must hold a JSON object, not {type(facts).__name__}.")
    targets = facts.get("lora_targets", "language")
    if targets not in _LORA_TARGETS:
        raise ModelFolderError(
            f"{file}: lora_targets is {targets!r}; it must be one of {', '.join(_LORA_TARGETS)}."
        )
    sentences = facts.get("relation_sentences", "asked")
    if sentences not in _RELATION_SENTENCES:
        raise ModelFolderError(
            f"{file}: relation_sentences is {sentences!r}; it must be one of "
            f"{', '.join(_RELATION_SENTENCES)}."
        )
    return ModelFolder(
        source=str(path),
        name=name or str(facts.get("name") or path.name),
        region_input=str(facts.get("region_input", "overlay")),
        view=facts.get("view"),
        max_regions=int(facts.get("max_regions", 2)),
        relation_sentences=sentences,
        world=facts.get("world"),
        lora_targets=targets,
        finetune=facts.get("finetune"),
    )
