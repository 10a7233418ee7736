"""A tokenizer of the world and some examples of it, made once for all tests of training."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest


@pytest.fixture(scope="session")
def tokenizer():
    from model_server.training import export

    return export.world_tokenizer(0, 1024, samples=60)


@pytest.fixture(scope="session")
def some():
    from model_server.worlds.samples import bundled_view, examples

    # Of one picture each, so that any of them make a batch.
    return list(islice(examples(2, replace(bundled_view(), scope="crop")), 24))
