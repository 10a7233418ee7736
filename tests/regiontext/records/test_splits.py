from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from regiontext.records.card import CARD_NAME, Tally, write_card
from regiontext.records.duplicates import NEAR_BITS, NearIndex, perceptual_hash
from regiontext.records.formats.registry import FORMATS
from regiontext.records.splits import Clusters, Placed, split_of, split_of_placed
from tests.regiontext.records.examples import all_kinds


def scene(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return coarse.resize((240, 180), Image.Resampling.BICUBIC)


def bits(differing: int) -> str:
    """A hash that differs from that of nothing in so many bits."""
    return f"{(1 << differing) - 1:016x}"


def named(number: int) -> str:
    return f"{number:064x}"


def test_what_looks_alike_has_a_near_hash() -> None:
    for seed in range(6):
        image = scene(seed)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=60)
        index = NearIndex()
        index.add(perceptual_hash(image))
        for other in (
            Image.open(buffer),
            image.resize((120, 90)),
            image.convert("L"),
            ImageEnhance.Brightness(image).enhance(0.8),
            image.crop((4, 0, 240, 180)),
        ):
            assert index.near(perceptual_hash(other)) == [0]
        assert index.near(perceptual_hash(scene(seed + 100))) == []


def test_the_index_knows_every_hash_that_is_near() -> None:
    index = NearIndex()
    for differing in range(64):
        index.add(bits(differing))
    assert index.near(bits(0)) == list(range(NEAR_BITS + 1))
    assert index.near(bits(30)) == list(range(30 - NEAR_BITS, 31 + NEAR_BITS))
    with pytest.raises(ValueError, match="hex digits"):
        index.near("ab")


def test_near_duplicates_share_the_split_of_the_first() -> None:
    clusters = Clusters()
    first = clusters.place(named(1), bits(0))
    second = clusters.place(named(2), bits(NEAR_BITS))
    # Near to the second only: the cluster is the first one's all the same.
    third = clusters.place(named(3), bits(2 * NEAR_BITS))
    other = clusters.place(named(4), bits(40))
    assert [one.cluster for one in (first, second, third)] == [named(1)] * 3
    assert other.cluster == named(4)
    assert split_of_placed(third) == split_of(named(1))


def test_an_image_between_clusters_of_two_splits_is_in_neither() -> None:
    train = next(n for n in range(100) if split_of(named(n)) == "train")
    held = next(n for n in range(100) if split_of(named(n)) == "validation")
    for first, second in ((train, held), (held, train)):
        clusters = Clusters()
        clusters.place(named(first), bits(0))
        clusters.place(named(second), bits(2 * NEAR_BITS))
        between = clusters.place(named(200), bits(NEAR_BITS))
        assert between == Placed(named(200), bits(NEAR_BITS), named(first), (named(second),))
        assert split_of_placed(between) is None
        # The clusters stay apart, and where they are.
        assert clusters.place(named(201), bits(3 * NEAR_BITS)).cluster == named(second)
    same = Placed("x", bits(0), named(train), (named(train),))
    assert split_of_placed(same) == "train"


@given(st.lists(st.integers(0, 2**20), unique=True, max_size=40), st.data())
def test_a_split_never_changes_as_images_come(numbers: list[int], data: st.DataObject) -> None:
    hashes = {n: data.draw(st.integers(0, 63).map(bits)) for n in numbers}
    clusters, seen = Clusters(), dict[int, Placed]()
    for count, number in enumerate(numbers):
        seen[number] = clusters.place(named(number), hashes[number])
        if count % 7 == 0:
            # What was kept is enough to go on from.
            clusters = Clusters([seen[n] for n in numbers[: count + 1]])
    for number in numbers:
        assert clusters.place(named(number), bits(63)) == seen[number]
    used = [(one, split_of_placed(one)) for one in seen.values()]
    for one, split in used:
        for other, another in used:
            near = (int(one.perceptual, 16) ^ int(other.perceptual, 16)).bit_count() <= NEAR_BITS
            assert not (near and split and another) or split == another


def test_the_data_card_says_what_is_in_the_folder(tmp_path: Path) -> None:
    tally = Tally()
    for one in all_kinds(None):
        tally.add(one)
    for _ in range(2):
        write_card(
            tmp_path, tally, FORMATS["coco"], about={"model": "m|<i>"}, left_out={"no": 2},
            validation=0.2,
        )  # fmt: skip
    card = (tmp_path / CARD_NAME).read_text()
    assert "8 records on 3 images" in card
    assert "| train | 2 | 5 |" in card and "| validation | 1 | 3 |" in card
    assert r"m\|&lt;i>" in card
    assert "| relation | 2 |" in card
    assert FORMATS["coco"].lacks in card
    for plot in ("outcomes", "labels", "words", "sizes"):
        svg = (tmp_path / "plots" / f"{plot}.svg").read_text()
        assert svg.startswith("<?xml") and f"(plots/{plot}.svg)" in card
    assert "Wheel" in (tmp_path / "plots" / "labels.svg").read_text()
    counts = tally.to_dict()
    assert (counts["records"], counts["images"]) == (8, 3)
    assert counts["kinds"] == {"closed": 2, "open": 4, "relation": 2}
