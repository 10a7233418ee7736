"""Small folders laid out as the downloads of ViP-Bench and DLC-Bench are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from regiontext.coco import mask_to_coco

__all__ = ["dlc_folder", "vip_folder"]


def vip_folder(folder: Path) -> Path:
    """Two items in two splits."""
    meta = {
        "v1_0": {
            "question": "What is <obj>?",
            "answer": "a dog<OR>a puppy",
            "capability": ["rec"],
        },
        "v1_1": {"question": "Read <obj>.", "answer": "12<AND>7", "capability": ["ocr", "math"]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vip-bench-meta-data.json").write_text(json.dumps(meta))
    for split, mark in (("bbox", "red rectangle"), ("human", "blue scribble")):
        (folder / split / "images").mkdir(parents=True)
        lines = []
        for number, text in enumerate(("What is within the", "Read what is within the")):
            name = f"v1_{number}.png"
            Image.new("RGB", (60, 40), (200 * number, 10, 90)).save(
                folder / split / "images" / name
            )
            lines.append(
                json.dumps({"question_id": number, "image": name, "text": f"{text} {mark}?"})
            )
        (folder / split / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def dlc_folder(folder: Path) -> Path:
    """Two regions of one picture: a polygon and a compressed mask."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (80, 60), "white").save(folder / "images" / "o365_1.jpg")
    mask = np.zeros((60, 80), dtype=bool)
    mask[30:50, 40:70] = True
    annotations = {
        "images": [{"id": 5, "file_name": "o365_1.jpg", "width": 80, "height": 60}],
        "annotations": [
            {"id": 11, "image_id": 5, "segmentation": [[5, 5, 30, 5, 30, 25, 5, 25]]},
            {"id": 12, "image_id": 5, "segmentation": mask_to_coco(mask)},
        ],
        "categories": [],
    }
    asked = {
        "11": [
            {
                "question": "What is its colour?",
                "choices": [["Red", 1], ["Blue", -1], ["Not mentioned", 0]],
                "type": "positive",
            },
            {
                "question": "Does it have a door?",
                "choices": [["It has a door", -1], ["No door is mentioned", 1]],
                "type": "negative",
            },
        ],
        "12": [
            {
                "question": "What is its shape?",
                "choices": [["Round", 1], ["Square", 0.5]],
                "type": "positive",
            },
            {
                "question": "Is it wet?",
                "choices": [["Wet", -1], ["Not mentioned", 1]],
                "type": "negative",
            },
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(annotations))
    (folder / "qa.json").write_text(json.dumps(asked))
    (folder / "class_names.json").write_text(json.dumps({"11": "Umbrella", "12": "Gloves"}))
    return folder
