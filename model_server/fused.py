"""Linear layers of a model joined into few large matrices, and the adapters on them.

Layers that read the same input become one matrix, of which the model's own modules become views: the model
keeps working, on the same memory. Adapters of joined layers are joined likewise. Knows nothing of what the
matrices are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Fused", "LowRank", "Pair", "linear_groups"]

LowRank = tuple[Tensor, Tensor]
"""A float[r, in] and B float[out, r], the scale already in B: the layer adds x A^T B^T."""
Pair = tuple[Tensor, Tensor]
"""A joined weight float[out, in] and its bias float[out], which is empty if no layer has one."""


class Fused:
    """Groups of linear layers, each group one matrix.

    Attributes:
        weights: the matrices, group by group.
        own: the weights of a pass without an adapter.

    Args:
        model: names the layers.
        groups: the layers of each group read the same input; their outputs are joined in this order.
        dtype: of the matrices and biases, that of the layers by default. The model's own modules get it, too, and then
            run by themselves only on inputs of it.
        arranged: puts the groups' matrices among the other weights of a pass, in one list as the pass takes them.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Sequence[nn.Linear]],
        *,
        arranged: Callable[[Sequence[Pair]], list[Tensor]],
        dtype: torch.dtype | None = None,
    ) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._groups = [list(group) for group in groups]
        self.weights: list[Pair] = [_join(group, dtype) for group in self._groups]
        self._arranged = arranged
        self.own = arranged(self.weights)
        self._merged: tuple[str, list[Tensor]] | None = None
        self._low: dict[str, list[Tensor]] = {}

    def modules(self) -> dict[str, nn.Linear]:
        """The layers by their names in the model."""
        return {self._names[module]: module for group in self._groups for module in group}

    def add(self, name: str, parts: Mapping[str, LowRank]) -> None:
        """Make an adapter known; `parts` by module name, those of other modules are ignored."""
        flat: list[Tensor] = []
        for group in self._groups:
            flat += self._low_rank(group, parts)
        self._low[name] = flat

    def remove(self, name: str) -> None:
        """Forget an adapter."""
        del self._low[name]
        if self.merged(name) is not None:
            self.unmerge()

    def merge(self, name: str) -> None:
        """Keep a copy of the weights with this adapter in them, instead of any other's."""
        merged = []
        for index, (weight, bias) in enumerate(self.weights):
            a, b = self._low[name][2 * index : 2 * index + 2]
            if a.numel():
                weight = (weight.float() + b.float() @ a.float()).to(weight)
            merged.append((weight, bias))
        self._merged = (name, self._arranged(merged))

    def unmerge(self) -> None:
        """Forget the copy."""
        self._merged = None

    def merged(self, name: str) -> list[Tensor] | None:
        """The weights of a pass with this adapter in them, None if no such copy is kept."""
        return self._merged[1] if self._merged and self._merged[0] == name else None

    def low(self, name: str) -> list[Tensor]:
        """A float[r, in] and B float[out, r] of each group one after the other, empty where it changes nothing."""
        return self._low[name]

    def touched_by(self, name: str) -> bool:
        """True if the adapter changes any of these layers."""
        return any(part.numel() for part in self._low[name])

    def _low_rank(self, group: list[nn.Linear], parts: Mapping[str, LowRank]) -> list[Tensor]:
        # Adapters of matrices that are fused here become one: A stacked, B block by block.
        own = [parts.get(self._names[module]) for module in group]
        like = group[0].weight
        found = [part for part in own if part is not None]
        if not found:
            return [like.new_empty(0), like.new_empty(0)]
        a = torch.cat([part[0] for part in found]).to(like)
        b = like.new_zeros(sum(module.out_features for module in group), a.shape[0])
        row = column = 0
        for module, part in zip(group, own, strict=True):
            if part is not None:
                rank = part[1].shape[1]
                b[row : row + module.out_features, column : column + rank] = part[1].to(like)
                column += rank
            row += module.out_features
        return [a, b]


def linear_groups(
    layers: Iterable[nn.Module], names: Sequence[tuple[str, Sequence[str]]]
) -> list[list[nn.Linear]]:
    """Every layer's groups, one layer after the other; `names` has each group's part of the layer and its members."""
    return [
        [getattr(getattr(layer, part), name) for name in group]
        for layer in layers
        for part, group in names
    ]


@torch.no_grad()
def _join(group: Sequence[nn.Linear], dtype: torch.dtype | None) -> Pair:
    dtype = dtype or group[0].weight.dtype
    weight = torch.cat([module.weight.data for module in group]).to(dtype)
    bias = weight.new_empty(0)
    if any(module.bias is not None for module in group):
        bias = torch.cat(
            [
                weight.new_zeros(module.out_features) if module.bias is None else module.bias.data
                for module in group
            ]
        ).to(dtype)
    row = 0
    for module in group:  # the model keeps working, on the same memory
        own = slice(row, row + module.out_features)
        module.weight.data = weight[own]
        if module.bias is not None:
            module.bias.data = bias[own]
        row += module.out_features
    return weight, bias
