"""Other architectures than the bundled one: any checkpoint folder with a chat template is served."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from model_server.architectures.tokenizer import train_tokenizer
from model_server.batches import Job
from model_server.families import open_model
from model_server.families.chat import encode, prompt_text, question_turn
from model_server.families.overlay import OverlayModel
from model_server.folder import find_model
from model_server.jobs import Answer, Picture, Prompt, Sampling
from model_server.training.finetune_batches import Batches, answer_loss
from model_server.training.finetune_data import Item
from tests.model_server.conftest import TEXTS, WORDS, picture

pytestmark = pytest.mark.model
OPTIONS = ("red", "a small red star", "blue")
# The template writes the answer after a space, unlike the bundled model's.
TEMPLATE = (
    "{%- for m in messages -%}{{ m.role }}:{%- for p in m.content -%}"
    "{%- if p.type == 'image' -%}<image>{%- else -%}{{ ' ' + p.text }}{%- endif -%}{%- endfor -%}"
    "{%- if m.role == 'assistant' -%}<|end|>\n{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}assistant:{%- endif -%}"
)


def decoder(tokenizer: PreTrainedTokenizerBase) -> dict[str, object]:
    return {
        "model_type": "llama",
        "vocab_size": 448,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}


def llava(tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedModel, ProcessorMixin]:
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **TOWER},
        text_config=decoder(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    side = {"height": 56, "width": 56}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=side, crop_size=side),
        tokenizer,
        patch_size=14,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
    )
    return LlavaForConditionalGeneration(config), processor


def idefics3(tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Cuts images into a varying number of tiles, so that rows of a batch differ in pixels too."""
    tokenizer.add_special_tokens(
        {
            "additional_special_tokens": [
                "<fake_token_around_image>",
                "<end_of_utterance>",
                "<global-img>",
            ]
        }
    )
    config = Idefics3Config(
        vision_config=TOWER,
        text_config=decoder(tokenizer),
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 112}, max_image_size={"longest_edge": 56}
    )
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=TEMPLATE)
    return Idefics3ForConditionalGeneration(config), processor


@pytest.fixture(scope="module", params=[llava, idefics3], ids=lambda build: build.__name__)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> OverlayModel:
    folder: Path = tmp_path_factory.mktemp(request.param.__name__)
    model, processor = request.param(train_tokenizer(TEXTS, vocabulary=384, words=WORDS))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise * (0.4 if "embed" in name else 1.5 / weight.shape[1] ** 0.5))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return open_model(find_model(folder), device="cpu", threads=1)


def ask(model: OverlayModel, *prompts: Prompt) -> list[Answer]:
    jobs = [Job(prompt) for prompt in prompts]
    model.answer(jobs)
    return [job.future.result(0) for job in jobs]


def prompts(options: tuple[str, ...] = ()) -> list[Prompt]:
    """Questions of different lengths about pictures of different sizes."""
    return [
        Prompt(
            question_turn(1, text),
            [Picture.of(picture(seed, (60 + 40 * seed, 50)))],
            options,
            Sampling(max_tokens=6),
        )
        for seed, text in enumerate(TEXTS)
    ]


@pytest.mark.parametrize("options", [(), OPTIONS])
def test_a_batch_answers_as_each_alone(served: OverlayModel, options: tuple[str, ...]) -> None:
    asked = prompts(options)
    for one, other in zip(asked, ask(served, *asked), strict=True):
        (alone,) = ask(served, one)
        assert (alone.text, alone.prompt_tokens) == (other.text, other.prompt_tokens)
        for a, b in zip(alone.tokens, other.tokens, strict=True):
            assert (a.id, a.logprob) == (b.id, pytest.approx(b.logprob, abs=1e-3))


def test_options_are_scored_as_by_brute_force(served: OverlayModel) -> None:
    asked = prompts(OPTIONS)[1]
    processor, sums = served._processor, []
    before = prompt_text(processor, asked.messages)
    images = [one.load() for one in asked.images]
    start = encode(processor, [before], [images])["input_ids"].shape[1]
    for option in OPTIONS:
        inputs = encode(processor, [f"{before} {option}<|end|>"], [images])
        with torch.inference_mode():
            logprobs = torch.log_softmax(served._model(**inputs).logits[0], dim=-1)
        ids = inputs["input_ids"][0]
        sums.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(start, len(ids))))
    total = math.log(sum(math.exp(value) for value in sums))
    (answer,) = ask(served, asked)
    assert answer.options == pytest.approx(
        {option: math.exp(value - total) for option, value in zip(OPTIONS, sums, strict=True)},
        abs=1e-4,
    )


def test_several_images(served: OverlayModel) -> None:
    images = [Picture.of(picture(0)), Picture.of(picture(1, (90, 50)))]
    one = Prompt(question_turn(1, "a"), images[:1], sampling=Sampling(max_tokens=2))
    two = Prompt(question_turn(2, "a"), images, sampling=Sampling(max_tokens=2))
    first, second = ask(served, one, two)
    assert second.prompt_tokens > first.prompt_tokens
    assert ask(served, two)[0].text == second.text


def test_training_reads_the_same_prompt(served: OverlayModel) -> None:
    """Teacher-forced loss on the answer is minus its score as an option."""
    (asked,) = prompts(("a small red star",))[:1]
    (answer,) = ask(served, asked)
    item = Item(tuple(one.load() for one in asked.images), TEXTS[0], "a small red star")
    for frozen in (True, False):
        batches = Batches(served._model, served._processor, [item], frozen_tower=frozen)
        inputs, labels = batches.batch([0])
        with torch.inference_mode():
            loss = answer_loss(served._model(**inputs).logits, labels)
        mean = -sum(token.logprob for token in answer.tokens) / len(answer.tokens)
        assert float(loss) == pytest.approx(mean, rel=2e-3)
