"""Learning from what was rejected: direct preference optimisation, in the same loop as everything else.

The loss is that of Rafailov et al. 2023, "Direct Preference Optimization", eq. 7, as TRL's DPOTrainer
computes it; the reference is the model as the supervised steps left it. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model_server.training.finetune_batches import Batches, answer_logprobs

__all__ = ["preference_losses", "reference_logprobs"]

_CHUNK = 16


def preference_losses(
    chosen: Tensor, rejected: Tensor, chosen_before: Tensor, rejected_before: Tensor, beta: float
) -> Tensor:
    """The loss of each pair, float[B], from log-probabilities of whole answers, now and before.

    -log sigmoid(beta * ((chosen - chosen_before) - (rejected - rejected_before))).
    """
    margin = (chosen - chosen_before) - (rejected - rejected_before)
    return -nn.functional.logsigmoid(beta * margin)


@torch.no_grad()
def reference_logprobs(
    model: PreTrainedModel | nn.Module, batches: Batches, indices: Sequence[int]
) -> Tensor:
    """Log-probability of each example's answer by the model as it is now, float[N]."""
    found = []
    for start in range(0, len(indices), _CHUNK):
        inputs, labels = batches.batch(indices[start : start + _CHUNK])
        found.append(answer_logprobs(model(**inputs, use_cache=False).logits, labels))
    return torch.cat(found)
