"""Other architectures than the bundled one: any checkpoint folder with a chat template is served."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
import transformers
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2Config,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from model_server.architectures.tokenizer import train_tokenizer
from model_server.batches import Job
from model_server.errors import ModelFolderError
from model_server.families import open_model
from model_server.families.chat import encode, prompt_text, question_turn
from model_server.families.overlay import OverlayModel
from model_server.families.packed import PackedModel
from model_server.families.whole import WholePrompts
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


def llava_qwen2(tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The decoder of LLaVA-OneVision and InternVL: its attention has biases."""
    model, processor = llava(tokenizer)
    config = model.config
    config.text_config = Qwen2Config(**{**decoder(tokenizer), "model_type": "qwen2"})
    model = LlavaForConditionalGeneration(config)
    for name, weight in model.named_parameters():
        if name.endswith("_proj.bias"):
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(1))
    return model, processor


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


def gemma_decoder(tokenizer: PreTrainedTokenizerBase, model_type: str) -> dict[str, object]:
    return {**decoder(tokenizer), "model_type": model_type, "head_dim": 8}


def siglip(**sizes: int) -> dict[str, object]:
    return {"model_type": "siglip_vision_model", "projection_dim": 32, **TOWER, **sizes}


def paligemma(tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Reads its prompt in both directions, and only its answer forwards."""
    images = SiglipImageProcessorPil(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(images, tokenizer, chat_template=TEMPLATE)
    config = PaliGemmaConfig(
        vision_config=siglip(),
        text_config=gemma_decoder(tokenizer, "gemma"),
        image_token_index=processor.image_token_id,
        projection_dim=32,
        hidden_size=32,
    )
    return PaliGemmaForConditionalGeneration(config), processor


def gemma3(tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Layers with a sliding window between those without, and image tokens that see each other."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        extra_special_tokens={
            "image_token": "<soft>",
            "boi_token": "<image>",
            "eoi_token": "</image>",
        },
    )
    images = Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    processor = Gemma3Processor(images, tokenizer, chat_template=TEMPLATE, image_seq_length=4)
    config = Gemma3Config(
        vision_config=siglip(),
        text_config={**gemma_decoder(tokenizer, "gemma3_text"), "sliding_window": 16},
        mm_tokens_per_image=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<soft>"),
        boi_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("</image>"),
    )
    return Gemma3ForConditionalGeneration(config), processor


@pytest.fixture(
    scope="module",
    params=[llava, llava_qwen2, idefics3, paligemma, gemma3],
    ids=lambda build: build.__name__,
)
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
    model = open_model(find_model(folder), device="cpu", dtype="float32", threads=1)
    packs = request.param in (llava, llava_qwen2, idefics3)
    assert type(model) is (PackedModel if packs else OverlayModel)
    return model


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
    for option in OPTIONS:
        inputs = encode(processor, [before], [images])
        start = inputs["input_ids"].shape[1]
        own = processor.tokenizer(f" {option}<|end|>", add_special_tokens=False)["input_ids"]
        ids = torch.cat([inputs.pop("input_ids"), torch.tensor([own])], dim=1)
        for key, value in inputs.items():
            if value.shape == (1, start):  # PaliGemma's answers are of another type
                said = key == "attention_mask" or served._model.config.model_type == "paligemma"
                inputs[key] = torch.cat([value, torch.full((1, len(own)), int(said))], dim=1)
        with torch.inference_mode():
            logprobs = torch.log_softmax(served._model(ids, **inputs).logits[0], dim=-1)
        sums.append(sum(float(logprobs[i - 1, ids[0, i]]) for i in range(start, ids.shape[1])))
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


def test_prompts_put_together_are_what_the_processor_makes_of_them(served: OverlayModel) -> None:
    """Also where it cuts a picture into tiles, which cannot be put together by their shapes."""
    made = WholePrompts(served._processor, served._writer.ends)
    ready = [made.prepare(one) for one in prompts()]
    for some in (ready, ready[:1], [ready[1]] * 3):
        images = [[picture.load() for picture in one.pictures] for one in some]
        right = encode(served._processor, [one.text for one in some], images)
        found = made.together(some)
        assert set(found) == set(right)
        assert all(torch.equal(found[name], value) for name, value in right.items())


def test_training_reads_the_same_prompt(served: OverlayModel) -> None:
    """Teacher-forced loss on the answer is minus its score as an option."""
    if served._model.config.model_type == "paligemma":
        pytest.skip("fine-tuning reads answers forwards and prompts too; PaliGemma's go both ways")
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


VIDEO = {
    "Qwen2_5_VL": "Qwen2VLImageProcessor",
    "Qwen3VL": "Qwen2VLImageProcessor",
    "InternVL": "GotOcr2ImageProcessor",
    "SmolVLM": "SmolVLMImageProcessor",
    "LlavaOnevision": "LlavaOnevisionImageProcessor",
}


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed here"
)
@pytest.mark.parametrize("family", VIDEO)
def test_processors_that_need_torchvision_say_so(tmp_path: Path, family: str) -> None:
    """They bring a video processor, which transformers writes with torchvision only."""
    train_tokenizer(TEXTS, vocabulary=384, words=WORDS).save_pretrained(tmp_path)
    getattr(transformers, f"{family}Config")().save_pretrained(tmp_path)
    facts = {"processor_class": f"{family}Processor"}
    images = {**facts, "image_processor_type": VIDEO[family]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps(facts))
    with pytest.raises(ModelFolderError, match=r"needs torchvision.*vLLM"):
        open_model(find_model(tmp_path), device="cpu")
