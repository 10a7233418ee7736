"""From a trained model to a model folder, and from the world to its tokenizer.

Knows nothing of how the model was trained.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, VipLlavaForConditionalGeneration

from model_server.architectures import tokenizer as tokens
from model_server.architectures.tiny import build_processor
from model_server.training.settings import Settings
from model_server.worlds import asking, pairs, vocabulary
from model_server.worlds.samples import bundled_view, examples
from model_server.worlds.scenes import VERSION
from regiontext.marks.kinds import COLOURS
from regiontext.questions.wordings import PARAPHRASES, WORDINGS
from regiontext.relations import SPATIAL

__all__ = ["NAME", "commit", "export", "world_tokenizer"]

NAME = "regiontext-mini"


def world_tokenizer(
    seed: int, vocabulary_size: int, *, samples: int = 400
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the world's own questions; every word of a question or an answer becomes one token."""
    stream = examples([seed, 11], bundled_view())
    corpus = [
        text
        for example in islice(stream, samples)
        for turn in example.turns
        for text in (turn.prompt, turn.answer)
    ]
    rng = np.random.default_rng([seed, 12])
    corpus += [asking.spelling(rng)[1] for _ in range(samples)]
    spoken = {word for name in vocabulary.ATTRIBUTES for word in vocabulary.values(name)}
    spoken |= {word for names in asking.field_names().values() for word in names}
    spoken |= set(COLOURS) | {str(number) for number in range(101)} | set(asking.YES_NO)
    wordings = [*WORDINGS.values(), *(w for some in PARAPHRASES.values() for w in some)]
    for sentence in [*SPATIAL, *pairs.SAME, *wordings]:
        spoken |= {w.strip("?.,:") for w in sentence.split() if "{" not in w} - {""}
    return tokens.train_tokenizer(corpus, vocabulary=vocabulary_size, words=spoken)


def commit() -> str:
    """The commit of the code at work, short, with "-dirty" where it is changed; empty where git does not keep it."""
    here = Path(__file__)
    said = ""
    # The first fails for a copy that lies in somebody else's repository.
    for asked in (["ls-files", "--error-unmatch", here.name], ["describe", "--always", "--dirty"]):
        command = ["git", "-C", str(here.parent), *asked]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return ""
        said = done.stdout.strip()
    return said


def export(
    model: VipLlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    out: Path,
    *,
    step: int,
) -> None:
    """Write the model folder: bfloat16 weights, processor, regiontext.json. An older folder is replaced by rename."""
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    weights = {k: v.to("cpu", torch.bfloat16) for k, v in model.state_dict().items()}
    copy = type(model)(model.config).to(torch.bfloat16)
    copy.load_state_dict(weights)
    copy.generation_config = model.generation_config
    copy.save_pretrained(fresh, max_shard_size="12MB")
    build_processor(tokenizer).save_pretrained(fresh)
    # A path is of no use to whoever reads the card.
    shown = asdict(settings) | {"start": Path(settings.start).name, "steps": step}
    about = {
        "name": NAME,
        "region_input": "overlay",
        "view": settings.view.to_dict(),
        "max_regions": 2,
        # Composed of captions and a choice, each with its confidence, they are right more often.
        "relation_sentences": "composed",
        # A material that it has never seen is new to the vision tower, too.
        "lora_targets": "all",
        "world": {"name": "worlds", "version": VERSION, "seed": settings.seed},
        "card": {
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": shown,
            "commit": commit(),
            "held_back": dict(vocabulary.HELD_BACK),
        },
    }
    (fresh / "regiontext.json").write_text(json.dumps(about, indent=2) + "\n")
    # safetensors writes files that their owner alone may read; a larger model has several.
    for file in fresh.glob("*.safetensors"):
        file.chmod(0o644)
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
