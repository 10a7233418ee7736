"""A trained model becomes a folder that plain transformers loads, however many files its weights take."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from model_server.architectures.tiny import build_model  # noqa: E402
from model_server.training.export import export  # noqa: E402
from model_server.training.settings import Settings  # noqa: E402
from tests.model_server.training.made import SHAPE  # noqa: E402

pytestmark = pytest.mark.model


def test_a_model_of_more_than_one_shard_is_written_readable_by_all_and_loads_again(
    tokenizer, tmp_path
):
    from transformers import AutoModelForImageTextToText

    # One decoder layer with 7 million parameters: 14 MB in bfloat16.
    model = build_model(tokenizer, replace(SHAPE, text_layers=1, text_hidden=48_000))
    out = tmp_path / "model"
    export(model, tokenizer, Settings(), out, step=1)
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) == 2 and all(path.stat().st_mode & 0o777 == 0o644 for path in shards)
    again = AutoModelForImageTextToText.from_pretrained(out)
    before = model.state_dict()
    assert all(
        torch.equal(tensor, before[name].to(torch.bfloat16))
        for name, tensor in again.state_dict().items()
    )
