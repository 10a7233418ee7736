"""What reads the files in the end reads them: datasets, TRL, pycocotools, webdataset, and trainers' own parsers.

LLaMA-Factory's and ms-swift's parsers are used where they are installed (`pip install --no-deps llamafactory ms-swift`
into any folder that REGIONTEXT_TRAINERS names); elsewhere their documented schemas are checked.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontext.coco import coco_to_mask
from regiontext.records.dataset import write_dataset
from regiontext.records.example import Example
from regiontext.records.formats.format import Options
from regiontext.records.formats.registry import FORMATS
from tests.regiontext.records.examples import spine


def written(folder: Path, name: str, options: Options | None = None) -> list[Example]:
    made = spine(folder)
    write_dataset(folder, FORMATS[name], options)
    return made


def test_datasets_and_trl_take_the_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl.data_utils")
    made = written(tmp_path, "trl")
    monkeypatch.chdir(tmp_path)
    table = datasets.Dataset.from_list(
        [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    ).cast_column("images", datasets.List(datasets.Image()))
    train = [one for one in made if one.split == "train"]
    assert [row["id"] for row in table] == [one.id for one in train]
    for row, one in zip(table, train, strict=True):
        assert trl.is_conversational(row)
        assert one.marking is not None
        assert [image.size for image in row["images"]] == [
            Image.open(name).size for name in one.marking.images
        ]
        content = row["messages"][0]["content"]
        assert [part["type"] for part in content] == ["image"] * len(row["images"]) + ["text"]
        ready = trl.prepare_multimodal_messages(row["messages"], images=row["images"])
        assert sum(part["type"] == "image" for part in ready[0]["content"]) == len(row["images"])


def test_datasets_opens_the_parquet_with_its_pictures(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = written(tmp_path / "data", "trl-parquet")
    files = {split: str(tmp_path / f"data/{split}.parquet") for split in ("train", "validation")}
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    rows = [*found["train"], *found["validation"]]
    assert [row["id"] for row in rows] == [one.id for one in made]
    for row, one in zip(rows, made, strict=True):
        assert one.marking is not None
        for image, name in zip(row["images"], one.marking.images, strict=True):
            with Image.open(tmp_path / "data" / name) as file:
                assert np.array_equal(np.asarray(image), np.asarray(file))
        assert row["messages"][1]["content"][-1]["text"] == one.text


def test_trl_takes_the_preferences(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl.data_utils")
    written(tmp_path, "trl-preferences")
    (line,) = (tmp_path / "train.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert trl.is_conversational(row)
    texts = [row[key][0]["content"][-1]["text"] for key in ("chosen", "rejected")]
    assert texts == ["a red car", "a blue car"]
    # What TRL makes of a pair whose prompt is in it is what this already is.
    joined = {key: row["prompt"] + row[key] for key in ("chosen", "rejected")}
    split = trl.extract_prompt(joined)
    assert {key: split[key] for key in ("prompt", "chosen", "rejected")} == {
        key: row[key] for key in ("prompt", "chosen", "rejected")
    }


@pytest.mark.parametrize("name", ["coco", "gpt4roi"])
def test_pycocotools_reads_the_regions(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO

    made = written(tmp_path, name)
    regions = {region.id: region for one in made for region in one.regions}
    for split in ("train", "validation"):
        prefix = "instances_" if name == "coco" else ""
        coco = COCO(str(tmp_path / f"{prefix}{split}.json"))
        assert coco.getImgIds()
        for entry in coco.loadAnns(coco.getAnnIds()):
            box = entry["bbox"]
            (region,) = [
                r for r in regions.values()
                if list(r.box) == [box[0], box[1], box[0] + box[2], box[1] + box[3]]
            ]  # fmt: skip
            mask = coco.annToMask(entry).astype(bool)
            if isinstance(entry["segmentation"], dict):
                assert np.array_equal(mask, coco_to_mask(region.rle))
            else:
                ours = coco_to_mask(region.rle)
                # pycocotools fills a polygon's edge otherwise than a canvas does.
                assert (mask & ours).sum() / (mask | ours).sum() > 0.85
            image = coco.loadImgs(entry["image_id"])[0]
            assert (tmp_path / image["file_name"]).is_file()
            category = coco.loadCats(entry["category_id"])[0]["name"]
            assert category == (region.labels[0] if region.labels else "object")
        if name == "coco":
            captions = COCO(str(tmp_path / f"captions_{split}.json"))
            texts = {entry["caption"] for entry in captions.loadAnns(captions.getAnnIds())}
            open_ = [one for one in made if one.kind == "open" and not one.pair]
            assert texts == {one.text for one in open_ if one.split == split}
    capsys.readouterr()


def test_refcoco_is_a_plain_pickle(tmp_path: Path) -> None:
    made = written(tmp_path, "refcoco")
    refs = pickle.loads((tmp_path / "refs(regiontext).p").read_bytes())
    instances = json.loads((tmp_path / "instances.json").read_text())
    annotations = {entry["id"]: entry for entry in instances["annotations"]}
    # As refer.py indexes them.
    for ref in refs:
        entry = annotations[ref["ann_id"]]
        assert (entry["image_id"], entry["category_id"]) == (ref["image_id"], ref["category_id"])
        assert ref["sent_ids"] == [s["sent_id"] for s in ref["sentences"]]
        assert ref["sentences"][0]["tokens"] == ref["sentences"][0]["sent"].split()
    open_ = [one for one in made if one.kind == "open" and not one.pair]
    assert [ref["sentences"][0]["raw"] for ref in refs] == [one.text for one in open_]
    assert {ref["split"] for ref in refs} == {"train", "val"}


def test_a_pickle_that_wants_code_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "refcoco")
    (tmp_path / "refs(regiontext).p").write_bytes(pickle.dumps([Path("x")]))
    from regiontext.errors import RecordError
    from regiontext.records.dataset import read_dataset

    with pytest.raises(RecordError, match="plain data only"):
        list(read_dataset(tmp_path, FORMATS["refcoco"]))


def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    made = {one.id: one for one in written(tmp_path, "webdataset")}
    seen = set()
    for shard in sorted(tmp_path.glob("*.tar")):
        for sample in webdataset.WebDataset(str(shard), shardshuffle=False).decode("pil"):
            one = made[sample["json"]["id"]]
            seen.add(one.id)
            assert sample["png"].size == (one.image.width, one.image.height)
            for number, region in enumerate(one.regions):
                mask = np.asarray(sample[f"mask_{number}.png"].convert("L")) > 127
                assert np.array_equal(mask, coco_to_mask(region.rle))
            assert one.marking is not None
            assert f"marked_{len(one.marking.images) - 1}.png" in sample
    assert seen == set(made)


def trainer(module: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = os.environ.get("REGIONTEXT_TRAINERS")
    if folder:
        monkeypatch.syspath_prepend(folder)
        # Their packages import all that a training needs; the parsers need next to nothing of it.
        parents = module.split(".")[:-1]
        for depth in range(1, len(parents) + 1):
            name = ".".join(parents[:depth])
            if name not in sys.modules:
                package = types.ModuleType(name)
                package.__path__ = [str(Path(folder, *parents[:depth]))]
                monkeypatch.setitem(sys.modules, name, package)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        return pytest.skip(f"{module} is not installed ({error}); see this module's docstring")


@pytest.mark.parametrize("name", ["llama-factory", "llama-factory-preferences"])
def test_llama_factorys_schema(name: str, tmp_path: Path) -> None:
    written(tmp_path, name)
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert set(info) <= {"regiontext_train", "regiontext_validation"}
    for entry in info.values():
        columns, tags = entry["columns"], entry["tags"]
        for item in json.loads((tmp_path / entry["file_name"]).read_text()):
            messages = item[columns["messages"]]
            text = "".join(message[tags["content_tag"]] for message in messages)
            assert text.count("<image>") == len(item[columns["images"]])
            roles = [message[tags["role_tag"]] for message in messages]
            if entry.get("ranking"):
                # A question without its answer, and two answers.
                assert roles == [tags["user_tag"]]
                for key in ("chosen", "rejected"):
                    assert item[columns[key]][tags["role_tag"]] == tags["assistant_tag"]
            else:
                assert roles == [tags["user_tag"], tags["assistant_tag"]]
            assert all((tmp_path / image).is_file() for image in item["images"])


@pytest.mark.parametrize("name", ["llama-factory", "llama-factory-preferences"])
def test_llama_factorys_own_parser(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = trainer("llamafactory.data.parser", monkeypatch)
    converter = trainer("llamafactory.data.converter", monkeypatch)
    written(tmp_path, name)
    (found,) = parser.get_dataset_list(["regiontext_train"], str(tmp_path))
    arguments = type("Arguments", (), {"media_dir": str(tmp_path)})()
    convert = converter.SharegptDatasetConverter(found, arguments)
    for item in json.loads((tmp_path / "train.json").read_text()):
        ready = convert(item)
        assert len(ready["_prompt"]) == 1
        assert len(ready["_response"]) == (2 if found.ranking else 1)
        assert all(Path(image).is_file() for image in ready["_images"])


@pytest.mark.parametrize("name", ["ms-swift", "ms-swift-preferences"])
@pytest.mark.parametrize("coordinates", [None, "unit", "qwen3-vl"])
def test_ms_swifts_schema(name: str, coordinates: str | None, tmp_path: Path) -> None:
    written(tmp_path, name, Options(coordinates=coordinates))
    for line in (tmp_path / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        text = "".join(message["content"] for message in row["messages"])
        assert text.count("<image>") == len(row["images"]) == 1
        assert text.count("<bbox>") == len(row["objects"]["bbox"])
        assert text.count("<ref-object>") == len(row["objects"]["ref"]) == 0
        assert ("bbox_2d" in text) == (coordinates == "qwen3-vl")
        assert ("rejected_response" in row) == name.endswith("preferences")
        if coordinates == "unit":
            assert all(0 <= side <= 1 for box in row["objects"]["bbox"] for side in box)


def test_ms_swifts_own_preprocessor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = trainer("swift.dataset.preprocessor.core", monkeypatch)
    for name in ("ms-swift", "ms-swift-preferences"):
        folder = tmp_path / name
        written(folder, name)
        for line in (folder / "train.jsonl").read_text().splitlines():
            row = json.loads(line)
            before = [list(box) for box in row["objects"]["bbox"]]
            core.RowPreprocessor._check_messages(row)
            core.RowPreprocessor._check_objects(row)
            assert row["objects"]["bbox"] == before
            assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
            assert set(row["objects"]) == {"ref", "bbox", "bbox_type"}


def test_llava_vip_llava_and_osprey_as_their_loaders_index_them(tmp_path: Path) -> None:
    made = {one.id: one for one in written(tmp_path / "llava", "llava")}
    for item in json.loads((tmp_path / "llava/train.json").read_text()):
        images = item["image"] if isinstance(item["image"], list) else [item["image"]]
        assert item["conversations"][0]["value"].count("<image>") == len(images)
    written(tmp_path / "vip", "vip-llava")
    for item in json.loads((tmp_path / "vip/train.json").read_text()):
        kind, subtype = item["id"].split("-")[:2]
        assert (kind, subtype) in {("refcocog", "gpt4v"), ("vg_rel", "gpt4v")}
        text = item["conversations"][0]["value"]
        names = ["<bbox>"] if kind == "refcocog" else ["<bbox0>", "<bbox1>"]
        assert len(names) == len(item["bboxes"])
        assert all(name in text for name in names)
    written(tmp_path / "osprey", "osprey")
    for item in json.loads((tmp_path / "osprey/train.json").read_text()):
        text = item["conversations"][0]["value"]
        for number, entry in enumerate(item["annotation"]):
            assert f"<region{number + 1}>" in text
            mask = coco_to_mask(entry["segmentation"])
            assert mask.shape == (item["height"], item["width"])
            assert mask.sum() == entry["area"] == made[item["id"]].regions[number].area


def test_a_spreadsheet_runs_nothing(tmp_path: Path) -> None:
    import csv

    written(tmp_path, "csv")
    for split in ("train", "validation"):
        with (tmp_path / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                assert not any(cell[:1] in ("=", "+", "-", "@") for cell in row.values() if cell)
    assert "'=field" in (tmp_path / "validation.csv").read_text()
