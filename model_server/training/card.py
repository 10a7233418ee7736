"""The model card of the bundled model: README.md and the card in regiontext.json, from measured figures.

Knows nothing of how the figures were measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_card"]

_ROWS = (
    ("caption", "full caption, every word right"),
    ("caption/words", "full caption, words right in place"),
    ("attribute/size", "size, free text"),
    ("attribute/colour", "colour, free text"),
    ("attribute/material", "material, free text"),
    ("attribute/shape", "shape, free text"),
    ("choice/size", "size, choices"),
    ("choice/colour", "colour, choices"),
    ("choice/material", "material, choices"),
    ("choice/shape", "shape, choices"),
    ("relation", "relation of two regions, choices"),
    ("sentence", "relation sentence, every word right"),
    ("sentence/words", "relation sentence, words right in place"),
)


def write_card(folder: Path, figures: Mapping[str, float], *, n: int, seed: int) -> None:
    """Write the figures (shares of right answers) into regiontext.json and README.md of a model folder."""
    path = folder / "regiontext.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    rounded = {key: round(value, 3) for key, value in figures.items()}
    about["card"]["evaluation"] = {"views": n, "seed": seed, "right": rounded}
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(about, rounded, n, seed), encoding="utf-8")


def _readme(about: Mapping[str, Any], figures: Mapping[str, float], n: int, seed: int) -> str:
    card = about["card"]
    training = card["training"]
    held_back = ", ".join(f"{name} `{word}`" for name, word in card["held_back"].items())
    notes = f" {training['notes']}" if training.get("notes") else ""
    rows = "\n".join(f"| {label} | {figures[key]:.3f} |" for key, label in _ROWS if key in figures)
    return f"""# {about["name"]}

A region captioner of {card["parameters"] / 1e6:.1f} million parameters that runs on one CPU core: it is shown a crop
around a region with the region's mark drawn on it, and answers in a word, a phrase or a choice. It exists so that
regiontext can be tried, tested and fine-tuned end to end without a GPU or a download. It knows only the generated
world of `model_server.worlds`; for photographs serve a larger model (see docs).

* **Architecture**: ViP-LLaVA's (`VipLlavaForConditionalGeneration`): a CLIP vision transformer for 112 px, features of
  three of its layers, a Llama decoder, byte-level BPE that can spell any word. bfloat16 weights.
* **Input**: the view in `regiontext.json`: {_view(about["view"])}. The processor scales the picture to fit a square and
  pads it; nothing is cropped away.
* **Training**: from scratch on pictures painted by `model_server.worlds` (version {about["world"]["version"]}, seed
  {about["world"]["seed"]}), with every kind of mark in random styles, on 2 CPU cores that were shared with other work:
  {training["minutes"]:g} minutes, {training["steps"]} steps. No other data.{notes}
* **Held back**: {held_back}. Neither their pixels nor their words were ever trained on, so teaching them by
  corrections is a fair test.

    python -m model_server.training.pretrain --out DIR --minutes {training["minutes"]:g} --seed {training["seed"]}
    python -m model_server.training.evaluate --model DIR --n {n} --card

How far a run gets in its minutes depends on the machine; a second run does not give the same weights.

## Figures

Share of right answers on {n} rendered views of scenes from a held-out seed ({seed}), in the default wording, with the
view's own mark. Free text is greedy and must match exactly; choices are scored by likelihood among all words of the
attribute, relations among a few predicates and "no relation".

| asked | right |
| --- | --- |
{rows}

## Limits

* Photographs, drawings and anything else outside the generated world: the answers mean nothing.
* Size and spatial relations are read from the evidence line of the prompt, not from the pixels; without it they are
  guesses.
* At most two marked regions. In a picture of two, the relation sentence gets the relation right but rarely names both
  objects right: take the captions of the regions instead.
* An overlay that covers the object (`mask`, `patch`) changes its colour, and the answer with it.

## Use without regiontext

    from transformers import AutoModelForImageTextToText, AutoProcessor
    processor = AutoProcessor.from_pretrained(DIR)
    model = AutoModelForImageTextToText.from_pretrained(DIR)
    chat = [{{"role": "user", "content": [{{"type": "image", "image": picture}}, {{"type": "text", "text": prompt}}]}}]
    inputs = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True,
                                           return_tensors="pt")
    answer = model.generate(**inputs, max_new_tokens=24)[:, inputs["input_ids"].shape[1]:]
    print(processor.batch_decode(answer, skip_special_tokens=True)[0])
"""


def _view(view: Mapping[str, Any]) -> str:
    evidence = "with" if view["evidence"] else "without"
    return (
        f"a {view['scope']} with a {view['kind']} mark, {view['context']:g} of the region's side of context each way, "
        f"at most {view['max_side']} px, {evidence} the evidence line"
    )
