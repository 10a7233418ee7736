"""Which names a server answers to: its base model, and the adapters that are loaded.

Plain bookkeeping, for one thread at a time: the engine calls it under its lock. Knows nothing of models and queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_server.errors import AdapterError, RequestError, brief
from model_server.folder import lineage

__all__ = ["Served"]


class Served:
    """The names of one base model and its adapters.

    Args:
        base: id of the base model, as clients name it.
        adapters: folders of the adapters that are there from the beginning, by name.
    """

    def __init__(self, base: str, adapters: Mapping[str, Path]) -> None:
        self._base = base
        self._adapters = dict(adapters)
        self._lineages = {name: lineage(path) for name, path in adapters.items()}
        # Names on their way in or out: not served, and not free either.
        self._transit: set[str] = set()

    def adapters(self) -> dict[str, Path]:
        """Names and folders of the adapters that requests may name."""
        return dict(self._adapters)

    def lineage(self, name: str) -> dict[str, Any] | None:
        """Where an adapter comes from; None for an unknown one."""
        return self._lineages.get(name)

    def adapter_of(self, model: str) -> str | None:
        """The adapter that a request names, None for the base model.

        An adapter is named as it was loaded, or with the base model before it, ``base:adapter``. Raises RequestError
        404 for any other name.
        """
        if model == self._base:
            return None
        for name in (model, model.removeprefix(f"{self._base}:")):
            if name in self._adapters:
                return name
        raise RequestError(
            f"The model {brief(model)} is not served here; served: "
            f"{', '.join([self._base, *self._adapters])}.",
            param="model",
            code="model_not_found",
            status=404,
        )

    def reserve(self, name: str) -> None:
        """An adapter of this name comes in; raises AdapterError if the name is taken."""
        if name == self._base or name in self._adapters or name in self._transit:
            raise AdapterError(
                f"The name {brief(name)} is already served. Unload it first or choose another.",
                param="lora_name",
                code="adapter_exists",
            )
        self._transit.add(name)

    def add(self, name: str, path: Path, lineage: dict[str, Any]) -> None:
        """The adapter is there; requests may name it."""
        self._adapters[name] = path
        self._lineages[name] = lineage

    def retire(self, name: str) -> None:
        """The adapter goes: no request may name it any more; raises AdapterError 404 for an unknown one."""
        if name not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise AdapterError(
                f"No adapter {brief(name)} is loaded; loaded: {known}.",
                param="lora_name",
                code="adapter_not_found",
                status=404,
            )
        del self._adapters[name], self._lineages[name]
        self._transit.add(name)

    def settle(self, name: str) -> None:
        """The adapter is in, or out, or could not be loaded: its name is on its way no more."""
        self._transit.discard(name)
