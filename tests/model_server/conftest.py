"""A tiny random model on disk, and live servers around it."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image

from model_server.app import create_app
from model_server.architectures.tiny import Shape, build_model, build_processor
from model_server.architectures.tokenizer import train_tokenizer
from model_server.engine import Engine
from model_server.families import open_model
from model_server.families.checkpoint import load_checkpoint
from model_server.families.overlay import OverlayModel
from model_server.families.packed import PackedModel
from model_server.folder import ModelFolder, find_model

if TYPE_CHECKING:
    import openai

WORDS = ("red", "green", "blue", "star", "circle", "square", "small", "large", "a", "the", "object")
TEXTS = (
    "Describe the object within the red rectangle.",
    "What is the colour of the object? Choose one: red, green, blue.",
    "a small red star",
    "a large blue square",
)
QUESTION = TEXTS[0]
TINY = Shape(
    image=56,
    patch=14,
    vision_width=32,
    vision_layers=3,
    vision_heads=2,
    vision_features=(1, 2, 3),
    text_width=32,
    text_layers=2,
    text_heads=2,
    text_hidden=64,
)

RUN: dict[str, Any] = {  # as a run of fine-tuning wrote it, in another place
    "identity": {"base": "/srv/models/regiontext-mini", "data": "65867d7ed0a07e6e", "steps": 100},
    "base": "/srv/models/regiontext-mini",
    "base_name": "regiontext-mini",
    "settings": {"steps": 100, "batch_size": 16, "lr": 0.001, "rank": 16, "targets": "all"},
    "counts": {"new": 40, "wrong_before": 31, "replay": 240, "pairs": 0},
    "data_sha256": "65867d7ed0a07e6ee5b1fe02c4bf4656c6d3a97804cb3a5930ed2cbb71da9f02",
    "loss": {"first": 1.7743706703186035, "last": 0.1060825303196907},
    "memory": {"needed": 61000000, "free": 900000000},
    "resumed_at": 0,
    "processes": 1,
    "seconds": 70.3,
    "seed": 0,
    "versions": {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
}


def build_tiny(path: Path, *, seed: int = 0, **facts: object) -> Path:
    """Save a random model whose logits are far apart, so that argmax is no coin toss."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(TEXTS, vocabulary=384, words=WORDS)
    model = build_model(tokenizer, TINY, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embed" not in name:
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise * 1.5 / weight.shape[1] ** 0.5)
        words = model.get_input_embeddings().weight
        words.copy_(torch.randn(words.shape, generator=generator) * 0.4)
        for token in range(len(words)):
            piece = tokenizer.convert_ids_to_tokens(token) or ""
            letters = piece.removeprefix("Ġ")
            if piece not in {"<|end|>", "Ġ"} and not (letters.isascii() and letters.isalpha()):
                words[token] = 0  # never said, so that answers are readable
    model.save_pretrained(path)
    build_processor(tokenizer, TINY).save_pretrained(path)
    described = {"name": "tiny", "region_input": "overlay", "view": {"scope": "crop"}, **facts}
    (path / "regiontext.json").write_text(json.dumps(described))
    return path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


def picture(seed: int, size: tuple[int, int] = (70, 50)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def messages(text: str, *images: Image.Image) -> list[dict]:
    parts: list[dict] = [
        {"type": "image_url", "image_url": {"url": data_url(image)}} for image in images
    ]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


@contextmanager
def serving(engine: Engine, folder: ModelFolder, **options: object) -> Iterator[str]:
    """A live server in a thread; yields its base URL as soon as the port is open."""
    app = create_app(engine, folder, **options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def wait_ready(url: str) -> None:
    for _ in range(2000):
        if httpx.get(f"{url}/ready").status_code == 200:
            return
        time.sleep(0.01)
    raise AssertionError(httpx.get(f"{url}/ready").text)


@pytest.fixture(scope="module")
def server(tiny_folder: Path) -> Iterator[str]:
    folder = find_model(tiny_folder)
    engine = Engine(
        lambda: open_model(folder, device="cpu", dtype="float32", threads=1), base=folder.name
    )
    with serving(engine, folder) as url:
        wait_ready(url)
        yield url


@pytest.fixture(scope="session")
def make_adapter(tiny_folder: Path) -> Callable[..., Path]:
    """`make_adapter(path, seed=1, scale=2.0)`: a LoRA of random weights for the tiny model."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    decoder = r".*language_model.*(q_proj|v_proj|down_proj)"

    def make(path: Path, *, seed: int = 1, scale: float = 2.0, layers: str = decoder) -> Path:
        model = AutoModelForImageTextToText.from_pretrained(tiny_folder)
        config = LoraConfig(r=4, target_modules=layers)
        lora = get_peft_model(model, config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in lora.named_parameters():
                if "lora_" in name:
                    weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
        lora.save_pretrained(path)
        return path

    return make


@pytest.fixture(scope="module")
def client(server: str) -> openai.OpenAI:
    import openai

    return openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, text: str = QUESTION, seed: int = 0, **options: object):
    options.setdefault("model", "tiny")
    options.setdefault("max_tokens", 8)
    return client.chat.completions.create(messages=messages(text, picture(seed)), **options)


@pytest.fixture(scope="module")
def packed(tiny_folder: Path) -> PackedModel:
    model = open_model(find_model(tiny_folder), device="cpu", dtype="float32", threads=1)
    assert isinstance(model, PackedModel)
    return model


@pytest.fixture(scope="module")
def general(tiny_folder: Path) -> OverlayModel:
    return OverlayModel(*load_checkpoint(find_model(tiny_folder), device="cpu"))


@pytest.fixture(scope="module", params=["packed", "general"])
def tiny(request: pytest.FixtureRequest) -> PackedModel | OverlayModel:
    return request.getfixturevalue(request.param)
