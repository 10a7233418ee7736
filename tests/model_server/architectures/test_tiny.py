"""The small ViP-LLaVA: loads with plain transformers, never crops, spells any word."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from model_server.architectures import tokenizer as tokens  # noqa: E402
from model_server.architectures.tiny import (  # noqa: E402
    Shape,
    build_model,
    build_processor,
    fit_square,
)

pytestmark = pytest.mark.model

SMALL = Shape(
    vision_width=32, vision_layers=2, vision_features=(1, 2), text_width=32, text_layers=1
)


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["Describe the object within the red rectangle. Choose one: wooden, brick."] * 20
    return tokens.train_tokenizer(texts, vocabulary=420, words=["wooden", "within"])


@pytest.fixture(scope="module")
def loaded(tokenizer, tmp_path_factory):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = tmp_path_factory.mktemp("tiny")
    build_model(tokenizer, SMALL).save_pretrained(folder)
    build_processor(tokenizer, SMALL).save_pretrained(folder)
    return AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(
        folder
    )


def _chat(image, text, answer=None):
    chat = [
        {
            "role": "user",
            "content": [{"type": "image", "image": image}, {"type": "text", "text": text}],
        }
    ]
    return chat if answer is None else [*chat, {"role": "assistant", "content": answer}]


def _noise(width, height):
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    )


def test_words_are_one_token_as_option_and_as_answer(tokenizer):
    alone = tokenizer("wooden")["input_ids"]
    listed = tokenizer("red, wooden.")["input_ids"]
    assert len(alone) == 1 and alone[0] in listed
    assert tokenizer.decode(alone) == "wooden"


@pytest.mark.parametrize("text", ["crescent", "a teal marble arc", "größer 箱 😀", "two  spaces"])
def test_any_text_can_be_spelt(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert None not in ids and tokenizer.decode(ids) == text


def test_a_vocabulary_that_is_too_small_says_which_word_it_splits():
    with pytest.raises(ValueError, match="extraordinarily"):
        tokens.train_tokenizer(["a b"], vocabulary=262, words=["extraordinarily"])


def test_loads_with_plain_transformers_and_generates(loaded):
    model, processor = loaded
    inputs = processor.apply_chat_template(
        [_chat(_noise(200, 90), "Describe"), _chat(_noise(60, 60), "Describe the object")],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )
    assert inputs["pixel_values"].shape == (2, 3, 112, 112)
    ids = inputs["input_ids"]
    image = processor.tokenizer.convert_tokens_to_ids(tokens.IMAGE)
    assert (ids == image).sum(1).tolist() == [SMALL.image_tokens] * 2
    assert model.generate(**inputs, max_new_tokens=3).shape[1] <= ids.shape[1] + 3
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight


def test_images_are_padded_never_cropped(loaded):
    _, processor = loaded
    wide = Image.new("RGB", (400, 100), "black")
    wide.paste("white", (0, 0, 20, 100))
    wide.paste("white", (380, 0, 400, 100))
    pixels = processor.image_processor(wide, return_tensors="pt")["pixel_values"][0]
    assert pixels[:, :28, :5].min() > 0.9 and pixels[:, :28, -4:].min() > 0.8
    assert pixels[:, 28:].abs().max() == 0


@pytest.mark.parametrize("size", [(200, 90), (90, 200), (40, 40), (112, 112), (700, 20)])
def test_the_training_pixels_are_the_processors(loaded, size):
    _, processor = loaded
    image = _noise(*size)
    theirs = processor.image_processor(image, return_tensors="pt")["pixel_values"][0].numpy()
    ours = np.asarray(fit_square(image, 112), dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(ours - theirs).max() < 0.01


def test_the_chat_template_marks_the_answer(loaded):
    _, processor = loaded
    chat = _chat(_noise(50, 50), "Describe the object", "wooden")
    text = processor.apply_chat_template(chat, tokenize=False)
    assert text == "<|user|><image>Describe the object<|assistant|>wooden<|end|>"
    asked = processor.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|user|><image>Describe the object<|assistant|>"


def test_the_bundled_size_fits_one_small_file(tokenizer):
    count = sum(p.numel() for p in build_model(tokenizer).parameters())
    assert 4_000_000 < count < 6_000_000
