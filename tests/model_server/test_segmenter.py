"""Masks from clicks: the small SAM, original checkpoints, and POST /v1/segment against a live server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from transformers import SamModel

from model_server.engine import Engine
from model_server.errors import ModelFolderError, RequestError
from model_server.families import open_model
from model_server.folder import find_model
from model_server.jobs import Picture
from model_server.protocol.messages import ImageLimits
from model_server.segmenter import Mask, Segmenter, open_segmenter
from model_server.segmenter_original import config_of, read_original, renamed
from model_server.segmenter_routes import Segmenting
from model_server.segmenter_small import SamShape, build_sam, sam_processor
from model_server.training.clicks import correction, deepest_point, scattered_point
from regiontext.coco import coco_to_mask
from tests.model_server.conftest import data_url, picture, serving, wait_ready

pytestmark = pytest.mark.model

TINY = SamShape(image=64, patch=8, width=32, layers=3, heads=2, window=4, decoder_hidden=32)


def tiny_sam() -> SamModel:
    model = build_sam(TINY, seed=3)
    with torch.no_grad():
        # So that the predicted scores lie within 0..1 and differ.
        model.mask_decoder.iou_prediction_head.proj_out.weight.mul_(0.1)
        model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(0.5)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sam") / "tiny-sam"
    tiny_sam().save_pretrained(path)
    sam_processor(TINY.image).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> Segmenter:
    return open_segmenter(str(folder))


# --- the model ---------------------------------------------------------------------------------


def test_one_click_gets_three_masks_of_the_picture_best_first(segmenter: Segmenter) -> None:
    shown = Picture.of(picture(1, (70, 50)))
    masks = segmenter.segment(shown, [(30, 20)], [1])
    assert len(masks) == 3 and all(one.mask.shape == (50, 70) for one in masks)
    assert all(one.mask.dtype == np.bool_ for one in masks)
    scores = [one.score for one in masks]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert len(segmenter.segment(shown, [(30, 20), (60, 40)], [1, 0])) == 1
    assert len(segmenter.segment(shown, [], [], box=(5, 5, 30, 30))) == 1
    assert len(segmenter.segment(shown, [(30, 20)], [1], box=(5, 5, 30, 30))) == 1


def test_the_same_as_transformers_own_way(segmenter: Segmenter, folder: Path) -> None:
    image = picture(2, (90, 60))
    model, processor = SamModel.from_pretrained(folder).eval(), sam_processor(TINY.image)
    inputs = processor(
        images=image, input_points=[[[31.0, 12.0], [70.0, 41.0]]], input_labels=[[1, 0]],
        return_tensors="pt",
    )  # fmt: skip
    inputs["input_points"] = inputs["input_points"].float()
    with torch.no_grad():
        out = model(
            pixel_values=inputs["pixel_values"],
            input_points=inputs["input_points"],
            input_labels=inputs["input_labels"],
            multimask_output=False,
        )
    (theirs,) = processor.post_process_masks(
        out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    (ours,) = segmenter.segment(Picture.of(image), [(31, 12), (70, 41)], [1, 0])
    assert np.array_equal(ours.mask, theirs[0, 0].numpy())
    assert ours.score == pytest.approx(float(out.iou_scores.clamp(0, 1)), abs=1e-5)


def test_clicks_and_labels_and_pictures_matter(segmenter: Segmenter) -> None:
    def mask(seed: int, x: float, label: int) -> bytes:
        clicks = [(x, 20.0), (60.0, 40.0)]
        return segmenter.segment(Picture.of(picture(seed)), clicks, [1, label])[0].mask.tobytes()

    assert len({mask(1, 30, 1), mask(1, 30, 0), mask(1, 5, 1), mask(2, 30, 1)}) == 4


def test_a_picture_is_looked_at_once_and_the_cache_is_bounded(folder: Path) -> None:
    looked: list[int] = []
    one = open_segmenter(str(folder), cache_bytes=2 * 4 * TINY.width * 8 * 8)

    def shown(seed: int) -> Picture:
        image = picture(seed)
        return Picture(bytes([seed]), lambda: (looked.append(seed), image)[1])

    for seed in (1, 1, 2, 1, 3, 1, 2):
        one.segment(shown(seed), [(5, 5)], [1])
    assert looked == [1, 2, 3, 2] and one.cached == 2


def test_without_a_prompt_there_is_nothing_to_find(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match="neither"):
        segmenter.segment(Picture.of(picture(1)), [], [])


def test_a_segmenter_that_is_not_there(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "no-such-folder"):
        with pytest.raises(ModelFolderError, match="--segmenter"):
            open_segmenter(str(source))


def test_another_model_is_no_segmenter(tiny_folder: Path) -> None:
    with pytest.raises(ModelFolderError, match="SAM"):
        open_segmenter(str(tiny_folder))


# --- original checkpoints ------------------------------------------------------------------------


def original(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a SamModel under the names of facebookresearch/segment-anything, written out from its modules."""
    swap = {
        "shared_image_embedding.positional_embedding":
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "vision_encoder.pos_embed": "image_encoder.pos_embed",
    }  # fmt: skip
    mine: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if name == "prompt_encoder.shared_embedding.positional_embedding":
            continue
        part = name.split(".")
        if name in swap:
            new = swap[name]
        elif part[0] == "vision_encoder" and part[1] == "patch_embed":
            new = f"image_encoder.patch_embed.proj.{part[3]}"
        elif part[0] == "vision_encoder" and part[1] == "neck":
            at = {"conv1": 0, "layer_norm1": 1, "conv2": 2, "layer_norm2": 3}[part[2]]
            new = f"image_encoder.neck.{at}.{part[3]}"
        elif part[0] == "vision_encoder":
            rest = ".".join(part[3:]).replace("layer_norm", "norm")
            new = f"image_encoder.blocks.{part[2]}.{rest}"
        elif part[:2] == ["prompt_encoder", "point_embed"]:
            new = f"prompt_encoder.point_embeddings.{part[2]}.weight"
        elif part[:2] == ["prompt_encoder", "mask_embed"]:
            at = {"conv1": 0, "layer_norm1": 1, "conv2": 3, "layer_norm2": 4, "conv3": 6}[part[2]]
            new = f"prompt_encoder.mask_downscaling.{at}.{part[3]}"
        elif part[1].startswith("upscale_"):
            at = {"upscale_conv1": 0, "upscale_layer_norm": 1, "upscale_conv2": 3}[part[1]]
            new = f"mask_decoder.output_upscaling.{at}.{part[2]}"
        elif part[1] == "transformer":
            new = name.replace("layer_norm_final_attn", "norm_final_attn")
            new = new.replace(".layer_norm", ".norm")
        elif "proj_in" in part or "proj_out" in part:
            new = name.replace("proj_in", "layers.0").replace("proj_out", "layers.2")
        elif part[1] in ("iou_prediction_head", "output_hypernetworks_mlps"):
            new = name.replace("layers.0.", "layers.1.")
        else:
            new = name
        mine[new] = weight
    return mine


def test_an_original_checkpoint_gives_the_same_masks(
    folder: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    model = tiny_sam()
    state = original(model.state_dict()) | {"pixel_mean": torch.zeros(3, 1, 1)}
    path = tmp_path / "sam_vit_t.pth"
    torch.save(state, path)
    # Released models have eight heads in the decoder; the small one has its own number.
    again = Segmenter(read_original(path, decoder_heads=TINY.decoder_heads), sam_processor(64))
    shown = Picture.of(picture(7, (80, 64)))
    for points, labels in (([(40, 30)], [1]), ([(40, 30), (10, 10)], [1, 0])):
        theirs = segmenter.segment(shown, points, labels)
        ours = again.segment(shown, points, labels)
        assert [o.score for o in ours] == [t.score for t in theirs]
        assert all(np.array_equal(o.mask, t.mask) for o, t in zip(ours, theirs, strict=True))


RELEASED = {
    "vit_b": (768, 12, 12, [2, 5, 8, 11]),
    "vit_l": (1024, 24, 16, [5, 11, 17, 23]),
    "vit_h": (1280, 32, 16, [7, 15, 23, 31]),
}


def test_the_sizes_of_the_released_models_are_read_off_their_weights() -> None:
    # In a process of its own: models made without weights leave their mark on those that are loaded later.
    with get_context("spawn").Pool(1) as elsewhere:
        elsewhere.map(_sizes_are_read, RELEASED.values())


def _sizes_are_read(size: tuple[int, int, int, list[int]]) -> None:
    from transformers import SamConfig, SamVisionConfig

    width, layers, heads, everywhere = size
    vision = SamVisionConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        global_attn_indexes=everywhere,
    )  # fmt: skip
    wanted = SamConfig(vision_config=vision.to_dict())
    with torch.device("meta"):
        state = original(SamModel(wanted).state_dict())
    assert state["image_encoder.blocks.0.attn.rel_pos_h"].shape == (27, width // heads)
    found = config_of(state)
    for part in ("vision_config", "prompt_encoder_config", "mask_decoder_config"):
        theirs, ours = getattr(wanted, part).to_dict(), getattr(found, part).to_dict()
        same = {key: ours[key] for key in theirs if key not in ("initializer_range", "scale")}
        assert same == {key: theirs[key] for key in same}, part
    if width == 768:
        assert renamed(state).keys() == SamModel(found).state_dict().keys()


def test_a_file_that_is_no_sam(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="no such file"):
        read_original(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ModelFolderError, match="no file of weights"):
        read_original(tmp_path / "text.pth")
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelFolderError, match=r"image_encoder\.patch_embed"):
        read_original(tmp_path / "other.pth")
    hq = original(tiny_sam().state_dict())
    torch.save(hq | {"mask_decoder.hf_token.weight": torch.zeros(1, 32)}, tmp_path / "hq.pth")
    with pytest.raises(ModelFolderError, match="hf_token"):
        read_original(tmp_path / "hq.pth", decoder_heads=TINY.decoder_heads)


# --- over HTTP -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(tiny_folder: Path, folder: Path) -> Iterator[str]:
    model = find_model(tiny_folder)
    engine = Engine(lambda: open_model(model, device="cpu", threads=1), base=model.name)
    segmenting = Segmenting(lambda: open_segmenter(str(folder)), name="tiny-sam")
    with serving(
        engine, model, segmenting=segmenting, limits=ImageLimits(max_pixels=100_000)
    ) as url:
        wait_ready(url)
        while not segmenting._opened.done():
            time.sleep(0.01)
        yield url


def ask(url: str, **body: Any) -> httpx.Response:
    given: dict[str, Any] = {
        "image": data_url(picture(1, (70, 50))),
        "points": [[30, 20]],
        "labels": [1],
    }
    return httpx.post(f"{url}/v1/segment", json=given | body, timeout=30)


def test_masks_over_http_are_those_of_the_model(url: str, segmenter: Segmenter) -> None:
    answer = ask(url).json()
    assert answer["model"] == "tiny-sam"
    direct = segmenter.segment(Picture.of(picture(1, (70, 50))), [(30, 20)], [1])
    for told, mine in zip(answer["masks"], direct, strict=True):
        assert told["size"] == [50, 70] and told["score"] == pytest.approx(mine.score, abs=1e-5)
        assert np.array_equal(coco_to_mask(told), mine.mask)
    assert len(ask(url, points=[], labels=[], box=[5, 5, 30, 30]).json()["masks"]) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"image": "http://example.com/a.png"}, "image"),
        ({"image": "data:image/png;base64,AAAA"}, "image"),
        ({"image": 3}, "image"),
        ({"image": data_url(picture(1, (400, 300)))}, "image"),
        ({"points": [[1]]}, "points[0][1]"),
        ({"points": [["a", 2]]}, "points[0][0]"),
        ({"points": [[30, 900]]}, "points[0]"),
        ({"points": [[-1, 20]]}, "points[0]"),
        ({"points": []}, "labels"),
        ({"labels": [2]}, "labels[0]"),
        ({"labels": [0]}, "points"),
        ({"points": [], "labels": []}, "points"),
        ({"box": [30, 5, 5, 30]}, "box"),
        ({"box": [100, 5, 120, 30]}, "box"),
        ({"box": [1, 2, 3]}, "box[3]"),
        ({"mode": "fast"}, "mode"),
    ],
)
def test_what_is_wrong_is_named(url: str, body: dict[str, Any], param: str) -> None:
    answer = ask(url, **body)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["param"] == param, answer.text


def test_without_a_segmenter_it_is_404_in_openais_shape(server: str) -> None:
    answer = ask(server)
    assert answer.status_code == 404
    fault = answer.json()["error"]
    assert fault["code"] == "no_segmenter" and "--segmenter" in fault["message"]


class _Slow:
    """A segmenter that waits for leave."""

    name = "slow"

    def __init__(self) -> None:
        self.leave = threading.Event()

    def size_of(self, picture: Picture) -> tuple[int, int]:
        return 70, 50

    def segment(
        self,
        picture: Picture,
        points: Sequence[tuple[float, float]],
        labels: Sequence[int],
        box: Any = None,
    ) -> list[Mask]:
        self.leave.wait(20)
        return [Mask(np.ones((50, 70), dtype=bool), 0.5)]


def test_a_slow_segmenter_holds_up_nobody_else_and_refuses_a_crowd(tiny_folder: Path) -> None:
    slow = _Slow()
    model = find_model(tiny_folder)
    engine = Engine(lambda: open_model(model, device="cpu", threads=1), base=model.name)
    segmenting = Segmenting(lambda: slow, name="slow", max_waiting=1)
    answers: list[httpx.Response] = []
    with serving(engine, model, segmenting=segmenting, api_key="secret") as url:
        wait_ready(url)
        assert ask(url).status_code == 401
        headers = {"Authorization": "Bearer secret"}
        body = {"image": data_url(picture(1, (70, 50))), "points": [[30, 20]], "labels": [1]}
        first = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{url}/v1/segment", json=body, headers=headers, timeout=30)
            )
        )
        first.start()
        while not segmenting._waiting:
            time.sleep(0.005)
        started = time.monotonic()
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
        assert httpx.post(f"{url}/v1/segment", json=body, headers=headers).status_code == 429
        assert time.monotonic() - started < 5
        slow.leave.set()
        first.join(20)
    assert answers[0].status_code == 200 and answers[0].json()["masks"][0]["score"] == 0.5


def test_while_it_loads_and_when_it_could_not_be_loaded() -> None:
    leave = threading.Event()

    def fail() -> Any:
        leave.wait(20)
        raise ModelFolderError("there is no such file.")

    segmenting = Segmenting(fail, name="gone")
    with pytest.raises(RequestError, match="still loading") as early:
        segmenting.ready()
    assert early.value.status == 503
    leave.set()
    while not segmenting._opened.done():
        time.sleep(0.005)
    with pytest.raises(RequestError, match="no such file") as late:
        segmenting.ready()
    assert late.value.status == 503
    segmenting.close()


# --- where somebody clicks -----------------------------------------------------------------------


blobs = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@settings(max_examples=60, deadline=None)
@given(blobs, blobs, st.integers(0, 9))
def test_clicks_lie_where_they_should(found: Any, truth: Any, seed: int) -> None:
    if not truth.any():
        with pytest.raises(ValueError, match="empty"):
            deepest_point(truth)
        return
    x, y = deepest_point(truth)
    assert truth[int(y), int(x)]
    x, y = scattered_point(truth, np.random.default_rng(seed))
    assert truth[int(y), int(x)]
    if found.shape == truth.shape:
        (x, y), positive = correction(found, truth)
        assert truth[int(y), int(x)] == positive


def test_the_deepest_point_of_a_disc_is_its_middle() -> None:
    y, x = np.mgrid[:21, :31]
    assert deepest_point((x - 18) ** 2 + (y - 9) ** 2 < 60) == (18.0, 9.0)
