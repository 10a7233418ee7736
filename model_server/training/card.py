"""The model card of the bundled model: `python -m model_server.training.card FOLDER FIGURES`.

README.md and the card in regiontext.json are written from the figures that RegionBench measured
(`python -m benchmarks.regionbench --json FIGURES`). Knows nothing of how they were measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_server.training.settings import Settings

__all__ = ["main", "write_card"]

_ASKED = (
    ("caption", "full caption, every word right"),
    ("attribute/size", "size, free text"),
    ("attribute/colour", "colour, free text"),
    ("attribute/material", "material, free text"),
    ("attribute/shape", "shape, free text"),
    ("choice/size", "size, choices"),
    ("choice/colour", "colour, choices"),
    ("choice/material", "material, choices"),
    ("choice/shape", "shape, choices"),
    ("yesno/size", "size, yes or no"),
    ("yesno/colour", "colour, yes or no"),
    ("yesno/material", "material, yes or no"),
    ("yesno/shape", "shape, yes or no"),
    ("relation", "how two regions lie, choices"),
    ("same", "what two regions share, which is larger: choices, yes or no"),
    ("sentence", "relation sentence, every word right"),
)


def write_card(folder: Path, told: Mapping[str, Any]) -> None:
    """Write RegionBench's figures into regiontext.json and README.md of a model folder."""
    path = folder / "regiontext.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["card"]["evaluation"] = {
        "regions": told["run"]["regions"],
        "seed": told["run"]["seed"],
        "claims": dict(told["claims"]),
        "right": {name: share["right"] for name, share in told["asked"].items()},
    }
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    side = config["vision_config"]["image_size"]
    (folder / "README.md").write_text(_readme(about, told, side), encoding="utf-8")


def _readme(about: Mapping[str, Any], told: Mapping[str, Any], side: int) -> str:
    card = about["card"]
    held_back = ", ".join(f"{name} `{word}`" for name, word in card["held_back"].items())
    return f"""# {about["name"]}

A region captioner of {card["parameters"] / 1e6:.1f} million parameters that runs on one CPU core: it is shown a crop
around a region with the region's mark drawn on it, and answers in a word, a phrase or a choice. It exists so that
regiontext can be tried, tested and fine-tuned end to end without a GPU or a download. It knows only the generated
world of `model_server.worlds`; for photographs serve a larger model (see docs).

* **Architecture**: ViP-LLaVA's (`VipLlavaForConditionalGeneration`): a CLIP vision transformer for {side} px, features
  of three of its layers, a Llama decoder, byte-level BPE that can spell any word. bfloat16 weights.
* **Input**: the view in `regiontext.json`: {_view(about["view"])}. The processor scales the picture to fit a square and
  pads it; nothing is cropped away.
* **Training**: {_training(about)}
{_made_by(card)}
* **Held back**: {held_back}. Neither their pixels nor their words were ever trained on, so teaching them by
  corrections is a fair test.

How far a run gets in its minutes depends on the machine; a second run does not give the same weights.

## Figures

RegionBench, {told["run"]["regions"]} regions of held-out scenes (seed {told["run"]["seed"]}), default wording, every
kind of mark in turn, asked over HTTP. Free text is greedy and must match exactly; choices are scored by likelihood.

    python -m benchmarks.regionbench --model DIR --regions {told["run"]["regions"]} --json FIGURES
    python -m model_server.training.card DIR FIGURES

| asked | right | n |
| --- | --- | --- |
{_table(_asked(told))}

| captions by | | right | n |
| --- | --- | --- | --- |
{_table(_slices(told))}

| control, whole picture, no evidence | caption right | fits the marked object better than the other | n |
| --- | --- | --- | --- |
{_table(_controls(told))}
{_chance(told)}{_unseen(told)}
## Limits

* Photographs, drawings and anything else outside the generated world: the answers mean nothing.
* Size and spatial relations are read from the evidence line of the prompt, not from the pixels; without it they are
  guesses.
* At most two marked regions, each in a picture of its own. What they share is known better of colours and materials
  than of shapes, whose names are the hardest to tell.
* The whole picture instead of a crop: the mark is followed, but at {side} px many captions are wrong in a word (see the
  controls above) and small objects are not seen.

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


def _training(about: Mapping[str, Any]) -> str:
    training, world = about["card"]["training"], about["world"]
    begun = (
        f"from the weights of `{training['start']}`" if training.get("start") else "from scratch"
    )
    notes = f" {training['notes']}" if training.get("notes") else ""
    return (
        f"{begun} on pictures painted by `model_server.worlds` (version {world['version']}, seed\n"
        f"  {world['seed']}), with ten kinds of mark in random styles: {training['minutes']:g} minutes, "
        f"{training['steps']} steps. No other data.{notes}"
    )


def _made_by(card: Mapping[str, Any]) -> str:
    defaults, training = asdict(Settings()), card["training"]
    chosen = {name: training.get(name, value) for name, value in defaults.items()}
    if chosen["minutes"] and chosen["steps"]:
        del chosen["steps"]  # how far the minutes brought it
    options = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in chosen.items()
        if value != defaults[name]
    ]
    code = f", code of commit {card['commit']}" if card.get("commit") else ""
    said = " ".join(["python -m model_server.training.pretrain --out DIR", *options])
    return f"* **Command**, with the settings at its end{code}: `{said}`"


def _asked(told: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for key, label in _ASKED:
        if key in told["asked"]:
            yield label, told["asked"][key]["right"], told["asked"][key]["n"]


def _slices(told: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for tag, shares in told["slices"].items():
        for name, share in shares.items():
            yield tag, name, share["right"], share["n"]


def _controls(told: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for name in ("marked", "removed", "moved"):
        if name in told["controls"]:
            share = told["controls"][name]
            yield f"mark {name}", share["right"], share["follows"], share["n"]


def _chance(told: Mapping[str, Any]) -> str:
    chance = told["controls"].get("removed", {}).get("chance")
    if chance is None:
        return ""
    return f"\nBy chance, {chance:.3f} of the captions would be right with the mark removed.\n"


def _unseen(told: Mapping[str, Any]) -> str:
    found = told["controls"].get("unseen_kind")
    if found is None:
        return ""
    return (
        f"\nMarked with a number, a kind never trained on, {found['right']:.3f} of {found['n']} captions are right; "
        f"marked in trained kinds, {found['seen']:.3f}.\n"
    )


def _table(rows: Iterator[tuple[object, ...]]) -> str:
    cells = ((f"{c:.3f}" if isinstance(c, float) else str(c) for c in row) for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _view(view: Mapping[str, Any]) -> str:
    evidence = "with" if view["evidence"] else "without"
    shown = {
        "whole": "the whole picture",
        "crop": "a crop around the regions",
        "both": "the whole picture and a crop around the regions",
        "each": "a crop around each region",
    }[view["scope"]]
    return (
        f"{shown} with a {view['kind']} mark, {view['context']:g} of the region's side of context each way, "
        f"at most {view['max_side']} px, {evidence} the evidence line"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_server.training.card", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="model folder")
    parser.add_argument("figures", type=Path, help="JSON that RegionBench wrote")
    options = parser.parse_args(argv)
    write_card(options.folder, json.loads(options.figures.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
