"""Train the bundled segmenter on the generated world: `python -m model_server.training.segmenter`.

A small SAM learns to find the object under a click, and to mend its mask after a second click where it was most wrong
(Kirillov et al., ICCV 2023, section 3 and appendix A: three masks of a single click, one of several, the IoU head by
squared error; here with cross entropy and dice loss). Objects of this world have no parts, so a click is not ambiguous
and all three masks learn the same. The world paints the pictures and knows the exact masks. A run that was stopped goes
on where its last saved state left it. Log lines are JSON. Knows nothing of words.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F
from transformers import SamModel

from model_server.segmenter_small import SamShape, build_sam, sam_processor
from model_server.training.clicks import correction, deepest_point, scattered_point
from model_server.training.machine import Averages, restart_tuned
from model_server.training.settings import learning_rate
from model_server.training.state import Progress, restore, save
from model_server.worlds.paint import paint_labels
from model_server.worlds.samples import visible
from model_server.worlds.scenes import sample_scene

__all__ = ["Settings", "evaluate", "main", "train"]

_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 255
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) * 255


@dataclass(frozen=True)
class Settings:
    """One run. minutes: of training, unless `steps` is set. pool: pictures kept to draw from; fresh: new ones a step.

    pictures, clicks: in a batch, and objects clicked per picture. again: how often a second click follows. start:
    folder of a model to go on from.
    """

    minutes: float = 22.0
    steps: int = 0
    seed: int = 0
    pictures: int = 4
    clicks: int = 4
    again: float = 0.5
    pool: int = 1500
    fresh: int = 1
    rate: float = 1.2e-3
    start: str = ""

    def done(self, step: int, spent_s: float) -> float:
        """How much of the run is over: 0..1 and beyond."""
        return step / self.steps if self.steps else spent_s / (self.minutes * 60)


@dataclass(frozen=True, eq=False)
class _Scene:
    """pixels: float32[3, S, S], normalised and padded; masks: bool[N, S, S] of its well visible objects."""

    pixels: torch.Tensor
    masks: NDArray[np.bool_]


def train(
    settings: Settings,
    work: Path,
    out: Path,
    *,
    shape: SamShape | None = None,
    report: Callable[[dict[str, Any]], None],
    save_every_s: float = 60.0,
) -> None:
    """Train until the run that `settings` describe is over, then save model and processor to `out` in float16.

    Raises ValueError when the state in `work` was made with other settings.
    """
    shape = shape or SamShape()
    work.mkdir(parents=True, exist_ok=True)
    model = build_sam(shape, seed=settings.seed)
    if settings.start:
        model.load_state_dict(SamModel.from_pretrained(settings.start).float().state_dict())
    model.train()
    optim = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=settings.rate,
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    progress = restore(work / "state.pt", settings, [model], [optim])  # type: ignore[arg-type]
    rng = np.random.default_rng([settings.seed, progress.step])
    pool: list[_Scene] = []
    log, saved = Averages(), progress.spent
    while (done := settings.done(progress.step, progress.spent)) < 1:
        begun = time.monotonic()
        for _ in range(settings.pictures if len(pool) < settings.pictures else settings.fresh):
            scene = _painted(rng, shape.image)
            if len(pool) < settings.pool:
                pool.append(scene)
            else:
                pool[int(rng.integers(len(pool)))] = scene
        for group in optim.param_groups:
            group["lr"] = settings.rate * learning_rate(done, warm=0.04, hold=0.5)
        chosen = [pool[int(i)] for i in rng.choice(len(pool), settings.pictures, replace=False)]
        loss, told = _loss(model, chosen, rng, settings)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        progress = Progress(progress.step + 1, progress.spent + time.monotonic() - begun)
        log.add(loss=loss.item(), samples=float(settings.pictures), **told)
        if progress.step % 20 == 0:
            report({"step": progress.step, "spent_s": round(progress.spent)} | log.take())
        if progress.spent - saved > save_every_s:
            save(work / "state.pt", settings, [model], [optim], progress)  # type: ignore[arg-type]
            saved = progress.spent
    save(work / "state.pt", settings, [model], [optim], progress)  # type: ignore[arg-type]
    model.eval().half().save_pretrained(out)
    sam_processor(shape.image).save_pretrained(out)
    report({"saved": str(out), "steps": progress.step, "spent_s": round(progress.spent)})


def evaluate(folder: Path, *, objects: int = 200, seed: int = 1_000_003) -> dict[str, float]:
    """Mean IoU on scenes of another seed, at their full size: one click at the deepest point, and one more mending it.

    With one click the mask that the model itself thinks best counts.
    """
    from model_server.jobs import Picture
    from model_server.segmenter import open_segmenter

    segmenter = open_segmenter(str(folder))
    rng = np.random.default_rng(seed)
    once: list[float] = []
    twice: list[float] = []
    while len(once) < objects:
        scene = sample_scene(rng)
        image, labels = paint_labels(scene)
        for index in visible(scene, labels):
            truth = labels == index + 1
            points, marks = [deepest_point(truth)], [1]
            found = segmenter.segment(Picture.of(image), points, marks)[0].mask
            once.append(_iou(found, truth))
            point, positive = correction(found, truth)
            more = segmenter.segment(Picture.of(image), [*points, point], [*marks, int(positive)])
            twice.append(_iou(more[0].mask, truth))
    return {
        "objects": len(once),
        "mean_iou": round(float(np.mean(once)), 4),
        "mean_iou_two_clicks": round(float(np.mean(twice)), 4),
        "above_half": round(float(np.mean(np.array(once) > 0.5)), 4),
    }


def _painted(rng: np.random.Generator, side: int) -> _Scene:
    # Painted small, since it is scaled down anyway; never smaller than what the model is shown.
    long = side * rng.uniform(1.0, 2.0)
    short = long * rng.uniform(0.5, 1.0)
    size = (round(long), round(short)) if rng.random() < 0.7 else (round(short), round(long))
    while True:
        scene = sample_scene(rng, size=size)
        image, labels = paint_labels(scene)
        seen = visible(scene, labels)
        if seen:
            break
    scale = side / max(size)
    inner = (round(size[0] * scale), round(size[1] * scale))
    small = image.resize(inner, Image.Resampling.BILINEAR)
    marks = Image.fromarray(labels).resize(inner, Image.Resampling.NEAREST)
    pixels = torch.zeros(3, side, side)
    raw = torch.from_numpy(np.array(small)).permute(2, 0, 1).float()
    pixels[:, : inner[1], : inner[0]] = (raw - _MEAN) / _STD
    full = np.zeros((side, side), dtype=np.uint8)
    full[: inner[1], : inner[0]] = np.array(marks)
    masks = [mask for index in seen if (mask := full == index + 1).sum() > 12]
    if not masks:
        return _painted(rng, side)
    return _Scene(pixels, np.stack(masks))


def _loss(
    model: SamModel, scenes: Sequence[_Scene], rng: np.random.Generator, settings: Settings
) -> tuple[torch.Tensor, dict[str, float]]:
    pixels, truths = [], []
    for scene in scenes:
        flip = rng.random() < 0.5
        own, masks = scene.pixels, scene.masks
        if flip:
            # Mirrored at the diagonal, so that the padding stays at the right and the bottom.
            own, masks = own.transpose(1, 2), masks.transpose(0, 2, 1)
        picked = rng.choice(len(masks), settings.clicks, replace=len(masks) < settings.clicks)
        pixels.append(own)
        truths.append(masks[picked])
    truth = np.stack(truths)
    points = np.array(
        [[[scattered_point(mask, rng)] for mask in masks] for masks in truth], dtype=np.float32
    )
    labels = np.ones(points.shape[:-1], dtype=np.int64)
    seen = model.vision_encoder(torch.stack(pixels)).last_hidden_state
    low = F.avg_pool2d(torch.from_numpy(truth).float(), _stride(model))
    masks, scores = _asked(model, seen, points, labels, many=True)
    costs, ious = _costs(masks, low)
    best = scores.argmax(dim=2, keepdim=True)
    loss = costs.mean() + F.mse_loss(scores, ious)
    told = {"iou": ious.gather(2, best).mean().item()}
    if rng.random() < settings.again:
        guess = masks.detach().gather(2, best[..., None, None].expand(-1, -1, 1, *low.shape[-2:]))
        more, marks = _mended(guess[:, :, 0], truth, _stride(model))
        masks, scores = _asked(
            model,
            seen,
            np.concatenate([points, more], axis=2),
            np.concatenate([labels, marks], axis=2),
            many=False,
        )
        costs, ious = _costs(masks, low)
        loss = loss + costs.mean() + F.mse_loss(scores, ious)
        told["iou_two"] = ious.mean().item()
    return loss, told


def _asked(
    model: SamModel,
    seen: torch.Tensor,
    points: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    many: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    out = model(
        image_embeddings=seen,
        input_points=torch.from_numpy(points),
        input_labels=torch.from_numpy(labels),
        multimask_output=many,
    )
    return out.pred_masks, out.iou_scores


def _costs(masks: torch.Tensor, low: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cost and IoU of every mask: [B, P, M] each, from logits [B, P, M, h, w] and truth [B, P, h, w] in 0..1."""
    truth = low[:, :, None].expand_as(masks)
    entropy = F.binary_cross_entropy_with_logits(masks, truth, reduction="none")
    shown = masks.sigmoid()
    # Object and surroundings count the same, whatever their sizes.
    on = (entropy * truth).sum((3, 4)) / truth.sum((3, 4)).clamp(min=1)
    off = (entropy * (1 - truth)).sum((3, 4)) / (1 - truth).sum((3, 4)).clamp(min=1)
    dice = 1 - (2 * (shown * truth).sum((3, 4)) + 1) / ((shown + truth).sum((3, 4)) + 1)
    with torch.no_grad():
        inside, real = masks > 0, truth > 0.5
        ious = (inside & real).sum((3, 4)) / (inside | real).sum((3, 4)).clamp(min=1)
    return on + off + dice, ious


def _mended(
    guess: torch.Tensor, truth: NDArray[np.bool_], stride: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A second click for every mask [B, P, h, w]: points [B, P, 1, 2] and labels [B, P, 1]."""
    found = (guess > 0).numpy().repeat(stride, axis=2).repeat(stride, axis=3)
    points = np.zeros((*truth.shape[:2], 1, 2), dtype=np.float32)
    labels = np.ones((*truth.shape[:2], 1), dtype=np.int64)
    for place in np.ndindex(*truth.shape[:2]):
        point, positive = correction(found[place], truth[place])
        points[place], labels[place] = point, int(positive)
    return points, labels


def _stride(model: SamModel) -> int:
    """Pixels of the model's picture per pixel of its masks."""
    return int(model.config.vision_config.patch_size) // 4


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, int((a | b).sum())))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_server.training.segmenter", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--work", type=Path, help="folder for the state; OUT-work by default")
    parser.add_argument("--minutes", type=float, default=Settings.minutes)
    parser.add_argument("--steps", type=int, default=0, help="instead of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=Settings.rate, help="highest learning rate")
    parser.add_argument("--start", default="", help="model folder to go on from")
    parser.add_argument("--evaluate", type=int, default=200, help="held-out objects; 0: none")
    options = parser.parse_args(argv)
    restart_tuned("model_server.training.segmenter")
    torch.set_num_threads(1)
    settings = Settings(
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        start=options.start,
        rate=options.rate,
    )
    work = options.work or options.out.with_name(options.out.name + "-work")

    def report(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    train(settings, work, options.out, report=report)
    if options.evaluate:
        figures = evaluate(options.out, objects=options.evaluate)
        report(figures)
        told = {"settings": asdict(settings), "figures": figures}
        (options.out / "figures.json").write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
