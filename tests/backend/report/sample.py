"""A small database with a history: two versions, three arms, twelve days, a challenger, hostile texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from backend.jobs.runs import record_result, register
from backend.store import (
    AnnotationRow,
    ImageRow,
    OutcomeRow,
    RegistryEventRow,
    ShadowAnswerRow,
    Store,
    SuggestionRow,
)
from backend.store import queries as stored

HOSTILE = '<script>alert("x")</script> & "quoted"'
BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)
BASE = "mini"


def seed(store: Store, folder: Path, *, tasks: int = 60) -> None:
    """Fill an empty store; always the same."""
    random = Random(7)
    with store.begin() as session:
        stored.replace_served_models(session, [{"id": BASE, "view": None}])
        for task in range(1, tasks + 1):
            arm = "control" if task % 6 == 0 else "holdout" if task % 10 == 1 else "assist"
            digest = f"{task:064x}"
            session.add(ImageRow(hash=digest, task=task, project=1, width=80, height=60, arm=arm))
            session.flush()
            at = BEGAN + timedelta(hours=5 * task)
            version = f"mini@{'base' if task < 30 else '0001'}+r1a2b3c4+q5d6e7f8"
            result = _shape()
            session.add(
                AnnotationRow(
                    id=task, project=1, task=task, completed_by=1, result=[result],
                    lead_time=20.0, created_at=at, updated_at=at, deleted=False,
                    image_hash=digest, source="webhook",
                )
            )  # fmt: skip
            final = HOSTILE if task == 3 else f"a red car number {task}"
            suggested = []
            if arm == "assist":
                confidence = random.random()
                right = random.random() < confidence
                suggested = [final if right else "a blue bus <b>"]
                session.add(_suggestion(task, digest, version, suggested, confidence, at))
                session.flush()
            kind = "added" if not suggested else "accepted" if suggested == [final] else "edited"
            session.add(
                OutcomeRow(
                    annotation=task, region="r1", field="caption", project=1, task=task,
                    image_hash=digest, arm=arm, outcome=kind,
                    suggestion=f"s{task}" if suggested else None, suggested=suggested,
                    final=[final], options=[], question="What is {mark}?", labels=["Car"],
                    annotator=1, model_version=version if suggested else None, updated_at=at,
                )
            )  # fmt: skip
        session.add(
            ShadowAnswerRow(
                suggestion="s2", challenger="mini:0002", value=["x"], confidence=0.5, agrees=True
            )
        )
    for number, promote in ((1, True), (2, False)):
        adapter = folder / "runs" / f"{number:04d}" / "adapter"
        adapter.mkdir(parents=True)
        (adapter / "adapter_config.json").write_text("{}")
        name = f"{BASE}:{number:04d}"
        register(store, name, base=BASE, adapter=adapter, run_dir=adapter.parent)
        record_result(store, name, _metrics(number, promote=promote), promote=promote)
    with store.begin() as session:
        session.add(
            RegistryEventRow(
                base=BASE, action="shadow", name="mini:0002", before="mini:0001", share=0.2
            )
        )


def _metrics(number: int, *, promote: bool) -> dict[str, Any]:
    return {
        "reason": "better: +0.100 (95 % interval +0.050 to +0.150, 60 questions)"
        if promote
        else "not proved better: +0.001 (95 % interval -0.100 to +0.100, 60 questions) includes 0",
        "promote": promote,
        "champion": 0.5 + 0.1 * number,
        "challenger": 0.6 + 0.05 * number,
        "overall": {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 60},
        "slices": [
            {"name": "label 'Tree'", "worse": not promote, "level": 0.99,
             "difference": {"mean": -0.3, "low": -0.4, "high": -0.2, "n": 9}},
        ],
    }  # fmt: skip


def _shape() -> dict[str, Any]:
    return {
        "id": "r1", "from_name": "rect", "to_name": "img", "type": "rectanglelabels",
        "original_width": 80, "original_height": 60, "image_rotation": 0,
        "value": {"x": 10, "y": 10, "width": 25, "height": 25, "rotation": 0,
                  "rectanglelabels": ["Car"]},
    }  # fmt: skip


def _suggestion(
    task: int, digest: str, version: str, value: list[str], confidence: float, at: datetime
) -> SuggestionRow:
    return SuggestionRow(
        id=f"s{task}", project=1, task=task, region="r1", field="caption",
        question="What is {mark}?", question_hash="h" * 64, options=[],
        prompt=f"What is within the red rectangle? {HOSTILE}", render_hash="d" * 64,
        image_hash=digest, view={}, model_version=version,
        model="mini" if "base" in version else "mini:0001",
        decoding={"temperature": 0.0, "max_tokens": 48}, value=value, confidence=confidence,
        path="batch" if task % 2 else "interactive", created_at=at,
    )  # fmt: skip
