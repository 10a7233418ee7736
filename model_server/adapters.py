"""LoRA adapters around one base model: loaded, switched and forgotten at run time.

An adapter folder is checked against the model before a layer is touched, so that a wrong one leaves
the model as it was. Only safetensors are read, because a pickle can run code. Knows nothing of
requests; the engine calls it between batches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel

from model_server.errors import AdapterError

__all__ = ["Adapters", "check_adapter"]

_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


class Adapters:
    """The adapters of one model, of which at most one is active."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._wrapped: PeftModel | None = None
        # peft uses names as module names, where a dot is not allowed.
        self._slots: dict[str, str] = {}
        self._numbers = count()
        self._active: str | None = None

    def load(self, name: str, path: Path) -> None:
        """Load the adapter in folder `path`; if it is unfit, raise AdapterError and change nothing."""
        check_adapter(self._model, path)
        slot = f"adapter{next(self._numbers)}"
        self._activate_base()
        if self._wrapped is None:
            self._wrapped = PeftModel.from_pretrained(self._model, str(path), adapter_name=slot)
        else:
            self._wrapped.load_adapter(str(path), adapter_name=slot)
        self._wrapped.eval()
        self._wrapped.base_model.disable_adapter_layers()
        self._slots[name] = slot

    def unload(self, name: str) -> None:
        """Forget an adapter and free its weights."""
        self._activate_base()
        slot = self._slots.pop(name)
        assert self._wrapped is not None
        if self._slots:
            # peft would choose and warn if the one it last used were deleted.
            self._wrapped.set_adapter(next(iter(self._slots.values())), inference_mode=True)
            self._wrapped.delete_adapter(slot)
            self._wrapped.base_model.disable_adapter_layers()
        else:
            self._wrapped.unload()
            self._wrapped = None

    def activate(self, name: str | None) -> None:
        """Answer with this adapter from now on, or with the base model for None."""
        if name == self._active:
            return
        if name is None:
            self._activate_base()
            return
        assert self._wrapped is not None
        self._wrapped.base_model.enable_adapter_layers()
        self._wrapped.set_adapter(self._slots[name], inference_mode=True)
        self._active = name

    def _activate_base(self) -> None:
        if self._active is not None and self._wrapped is not None:
            self._wrapped.base_model.disable_adapter_layers()
        self._active = None


def check_adapter(model: PreTrainedModel, path: Path) -> None:
    """Raise AdapterError unless `path` holds a LoRA adapter whose layers fit this model."""
    config = _config(path)
    if config.get("peft_type") != "LORA":
        raise _unfit(f"{path} is a {config.get('peft_type')!r} adapter; only LORA is served.")
    if not (path / _WEIGHTS).is_file():
        raise _unfit(f"{path} has no {_WEIGHTS}; save the adapter as safetensors.")
    linears = dict(model.named_modules())
    try:
        with safe_open(path / _WEIGHTS, framework="pt") as weights:
            shapes = {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _unfit(f"{path / _WEIGHTS} cannot be read: {error}.") from None
    for key, shape in shapes.items():
        _check_layer(linears, key, shape, path)


def _check_layer(modules: Mapping[str, nn.Module], key: str, shape: list[int], path: Path) -> None:
    name, found, part = key.removeprefix(_PREFIX).rpartition(".lora_")
    if not found:
        return
    layer = modules.get(name)
    # A layer that already carries another adapter keeps its own weight one level down.
    weight = getattr(getattr(layer, "base_layer", layer), "weight", None)
    if weight is None:
        raise _unfit(f"{path} was made for another model: this one has no layer {name!r}.")
    expected = {"A.weight": weight.shape[-1], "B.weight": weight.shape[0]}.get(part)
    given = shape[-1] if part == "A.weight" else shape[0]
    if expected is not None and given != expected:
        raise _unfit(
            f"{path} was made for another model: layer {name!r} is {expected} wide here and "
            f"{given} in the adapter."
        )


def _config(path: Path) -> dict[str, Any]:
    file = path / "adapter_config.json"
    if not file.is_file():
        raise _unfit(
            f"{path} is not an adapter folder: it has no adapter_config.json. Pass the folder that "
            "fine-tuning wrote."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unfit(f"{file} is not valid JSON: {error}.") from None
    if not isinstance(config, dict):
        raise _unfit(f"{file} must hold a JSON object.")
    return config


def _unfit(message: str) -> AdapterError:
    return AdapterError(message, param="lora_path", code="invalid_adapter")
