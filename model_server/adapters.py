"""LoRA adapters around one base model: loaded, used side by side, merged and forgotten at run time.

The model's layers stay as they are: hooks add what the active adapter says (Hu et al. 2021, section 4.1), except
for `Fused` layers, whose runner adds it, each row its own. An adapter folder, as peft writes it,
is checked against the model before a layer is touched, so that a wrong one leaves the model as it was. Only
safetensors are read, because a pickle can run code. Knows nothing of requests; the engine calls it between
batches.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from model_server.errors import AdapterError, brief
from model_server.fused import Fused, LowRank

__all__ = ["Adapters", "read_adapter"]

log = logging.getLogger("model_server")

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
# An adapter that so many batches in a row are asked through alone is worth a merged copy of the weights.
_STEADY = 8


class Adapters:
    """The adapters of one model.

    Args:
        words: layers of the language model that are run apart from their modules; None if hooks do all.
        pictures: likewise, of what sees pictures.
        fixed: layers that no adapter may change, because they are run neither fused nor by their modules.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        words: Fused | None = None,
        pictures: Fused | None = None,
        fixed: Collection[nn.Module] = (),
    ) -> None:
        self._model = model
        self._fixed = [name for name, one in model.named_modules() if one in fixed]
        self._pictures = pictures
        self._fused = [fused for fused in (words, pictures) if fused is not None]
        self._apart = frozenset(name for fused in self._fused for name in fused.modules())
        self._parts: dict[str, dict[str, LowRank]] = {}
        self._hooks: dict[str, RemovableHandle] = {}
        self._active: str | None = None
        self._merged: tuple[str, dict[str, Tensor]] | None = None
        self._plain: dict[str, Tensor] = {}
        self._merges = True
        self._recent: deque[str | None] = deque(maxlen=_STEADY)

    @property
    def merged(self) -> str | None:
        """The adapter of which a merged copy of the weights is kept."""
        return self._merged[0] if self._merged else None

    def load(self, name: str, path: Path) -> None:
        """Load the adapter in folder `path`; if it is unfit, raise AdapterError and change nothing."""
        parts = read_adapter(self._model, path, fixed=self._fixed)
        for fused in self._fused:
            fused.add(name, parts)
        modules = dict(self._model.named_modules())
        self._parts[name] = {
            module: (a.to(modules[module].weight), b.to(modules[module].weight))
            for module, (a, b) in parts.items()
            if module not in self._apart
        }
        for module in self._parts[name].keys() - self._hooks.keys():
            self._hooks[module] = modules[module].register_forward_hook(self._hook(module))

    def unload(self, name: str) -> None:
        """Forget an adapter and free its weights."""
        self.activate(None)
        if self.merged == name:
            self._merged = None
        for fused in self._fused:
            fused.remove(name)
        del self._parts[name]
        used = {module for parts in self._parts.values() for module in parts}
        for module in self._hooks.keys() - used:
            self._hooks.pop(module).remove()

    def touches_pictures(self, name: str | None) -> bool:
        """True if the adapter changes what is made of a picture."""
        if name is None:
            return False
        return bool(self._parts[name]) or bool(self._pictures and self._pictures.touched_by(name))

    def activate(self, name: str | None) -> None:
        """The model's modules answer with this adapter from now on, or with the base model for None."""
        if name == self._active:
            return
        self._restore()
        if self._merged is not None and self._merged[0] == name:
            for module, weight in self._merged[1].items():
                layer = self._model.get_submodule(module)
                self._plain[module] = layer.weight.data
                layer.weight.data = weight
        self._active = name

    def notice(self, names: Sequence[str | None]) -> None:
        """Whose answers a batch asks for, None for the base model: an adapter alone in all recent ones is merged."""
        first, *others = set(names)
        name = None if others else first
        self._recent.append(name)
        if name is None or name == self.merged or not self._merges:
            return
        if self._recent.count(name) == _STEADY:
            try:
                self.merge(name)
            except (RuntimeError, MemoryError):  # such as that a second copy does not fit
                log.warning("%s is served beside the base model, not merged", name, exc_info=True)
                self._unmerge()
                self._merges = False

    def merge(self, name: str) -> None:
        """Keep a copy of the weights with this adapter in them; batches of it alone cost no more than the base."""
        active = self._active
        self.activate(None)
        self._unmerge()
        for fused in self._fused:
            fused.merge(name)
        merged = {}
        for module, (a, b) in self._parts[name].items():
            weight = self._model.get_submodule(module).weight.data
            merged[module] = (weight.float() + b.float() @ a.float()).to(weight)
        self._merged = (name, merged)
        self.activate(active)

    def _unmerge(self) -> None:
        self._merged = None
        for fused in self._fused:
            fused.unmerge()

    def _restore(self) -> None:
        for module, weight in self._plain.items():
            self._model.get_submodule(module).weight.data = weight
        self._plain.clear()
        self._active = None

    def _hook(self, name: str) -> Any:
        def add(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
            if self._active is None or self._plain:
                return None
            part = self._parts[self._active].get(name)
            if part is None:
                return None
            return out + nn.functional.linear(nn.functional.linear(args[0], part[0]), part[1])

        return add


def read_adapter(
    model: PreTrainedModel, path: Path, *, fixed: Collection[str] = ()
) -> dict[str, LowRank]:
    """Read a LoRA folder: A float[r, in] and B float[out, r], scaled, by the name of the layer in `model`.

    Raises AdapterError unless it is a plain LoRA whose layers fit this model, none of them among `fixed`.
    """
    config = _config(path)
    tensors = _tensors(path)
    modules = dict(model.named_modules())
    parts: dict[str, LowRank] = {}
    for key in sorted(tensors):
        own = key.removeprefix(_PREFIX)
        if left := next((one for one in fixed if own.startswith(f"{one}.")), None):
            raise _unfit(
                f"{path} changes {left!r}, which this server runs as the base model has it; what an adapter may "
                f"change here is {', '.join(_kinds(modules, fixed))}. Train it without {left!r}."
            )
        name, found, part = own.rpartition(".lora_")
        if not found or part not in ("A.weight", "B.weight"):
            raise _unfit(f"{path} holds {key!r}; only LoRA on linear layers is served.")
        if part == "B.weight":
            continue
        a, b = tensors[key], tensors.get(f"{_PREFIX}{name}.lora_B.weight")
        if b is None:
            raise _unfit(f"{path} has no lora_B for layer {name!r}.")
        if a.ndim != 2 or b.ndim != 2 or not 0 < a.shape[0] == b.shape[1]:
            raise _unfit(
                f"{path} has lora_A of shape {list(a.shape)} and lora_B of shape {list(b.shape)} for layer {name!r}; "
                "they must be [r, in] and [out, r]."
            )
        layer = modules.get(name)
        if not isinstance(layer, nn.Linear):
            raise _unfit(f"{path} was made for another model: this one has no layer {name!r}.")
        for wanted, given in ((layer.in_features, a.shape[-1]), (layer.out_features, b.shape[0])):
            if wanted != given:
                raise _unfit(
                    f"{path} was made for another model: layer {name!r} is {wanted} wide here and "
                    f"{given} in the adapter."
                )
        try:
            scaled = b * _scale(config, name, a.shape[0])
        except ValueError as error:
            raise _unfit(f"{path / _CONFIG}: {error}") from None
        if not (a.isfinite().all() and scaled.isfinite().all()):
            raise _unfit(
                f"{path} holds weights of layer {name!r} that are infinite or no numbers; its training diverged."
            )
        parts[name] = (a, scaled)
    if not parts:
        raise _unfit(f"{path / _WEIGHTS} holds no LoRA weights.")
    return parts


def _kinds(modules: Mapping[str, nn.Module], without: Collection[str]) -> list[str]:
    """The linear layers by the last part of their names, each once, as they stand in the model."""
    names = (
        name for name, one in modules.items() if isinstance(one, nn.Linear) and name not in without
    )
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def _tensors(path: Path) -> dict[str, Tensor]:
    file = path / _WEIGHTS
    if not _is_file(file):
        raise _unfit(f"{path} has no {_WEIGHTS}; save the adapter as safetensors.")
    try:
        with safe_open(file, framework="pt") as weights:
            return {key: weights.get_tensor(key).to(torch.float32) for key in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unfit(f"{file} cannot be read: {error}.") from None


def _scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    # As peft: the alpha of a pattern that fits the layer's name, over the rank or, rank-stabilised, its root.
    alphas = config.get("alpha_pattern") or {}
    try:
        pattern = get_pattern_key(alphas, name)
        alpha = alphas.get(pattern, config.get("lora_alpha", 8))
    except (AttributeError, TypeError, re.error):
        raise ValueError(
            f"alpha_pattern is {brief(alphas)}; it must be an object of numbers by the layers' names."
        ) from None
    try:
        if math.isfinite(scale := float(alpha)):
            return scale / (math.sqrt(rank) if config.get("use_rslora") else rank)
    except (TypeError, ValueError, OverflowError):
        pass
    field = f"alpha_pattern[{pattern!r}]" if pattern in alphas else "lora_alpha"
    raise ValueError(f"{field} is {brief(alpha)}; it must be a number, as peft writes it.")


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:
        # Such as a name longer than any file's.
        raise _unfit(
            f"{brief(str(file.parent))} cannot be read: {error.strerror}. Pass the folder that fine-tuning wrote."
        ) from None


def _config(path: Path) -> dict[str, Any]:
    file = path / _CONFIG
    if not _is_file(file):
        raise _unfit(
            f"{path} is not an adapter folder: it has no adapter_config.json. Pass the folder that "
            "fine-tuning wrote."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unfit(f"{file} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise _unfit(f"{file} is not valid JSON: {error}.") from None
    if not isinstance(config, dict):
        raise _unfit(f"{file} must hold a JSON object.")
    if config.get("peft_type") != "LORA":
        raise _unfit(f"{path} is a {config.get('peft_type')!r} adapter; only LORA is served.")
    for field, plain in (("use_dora", False), ("bias", "none"), ("modules_to_save", None)):
        if config.get(field, plain) not in (plain, None, []):
            raise _unfit(f"{path} has {field} = {config[field]!r}; only plain LoRA is served.")
    return config


def _unfit(message: str) -> AdapterError:
    return AdapterError(message, param="lora_path", code="invalid_adapter")
