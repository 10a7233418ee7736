"""/ready and /metrics: what whoever runs the backend is told."""

from __future__ import annotations

import base64
import time
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from backend.store import OutcomeRow
from tests.backend.conftest import SetStage, Stage
from tests.backend.mutations import recorded
from tests.backend.stubs import StubModel


def samples(stage: Stage, **headers: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and label values."""
    answer = stage.http.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {
        (
            sample.name,
            tuple(
                sample.labels[key]
                for key in (
                    "stage",
                    "path",
                    "cache",
                    "route",
                    "model_version",
                    "arm",
                    "outcome",
                    "result",
                    "status",
                )
                if key in sample.labels
            ),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def until_ready(stage: Stage) -> Any:
    for _ in range(100):
        answer = stage.http.get("/ready")
        if answer.status_code == 200:
            break
        time.sleep(0.02)
    return answer


def test_stages_and_questions_are_counted(set_stage: SetStage) -> None:
    stage = set_stage()
    stage.predict(recorded()["request_predict_interactive_with_draft"])
    found = samples(stage)
    for name in ("fetch", "decode", "render", "model", "store"):
        assert found["regiontext_stage_seconds_count", (name,)] >= 1, name
    asked = found["regiontext_questions_total", ("interactive", "answered")]
    assert asked == len(stage.model.asked) > 0
    assert found["regiontext_request_seconds_count", ("/predict", "200")] == 1
    assert found["regiontext_requests_in_flight", ("/predict",)] == 0
    assert found["regiontext_image_cache_total", ("bytes", "miss")] == 1
    another = recorded()["request_predict_interactive_with_draft"]
    another["params"]["context"]["result"][0]["id"] = "another"
    stage.predict(another)
    assert samples(stage)["regiontext_image_cache_total", ("bytes", "hit")] == 1


def test_a_question_that_fails_is_counted_as_that(set_stage: SetStage) -> None:
    stage = set_stage(stub=StubModel(say=lambda *_: ""))
    stage.predict(recorded()["request_predict_interactive_with_draft"])
    found = samples(stage)
    assert found["regiontext_questions_total", ("interactive", "failed")] > 0


def test_outcomes_are_read_from_the_store(set_stage: SetStage) -> None:
    stage = set_stage()
    with stage.store.begin() as session:
        for number, outcome in enumerate(("accepted", "accepted", "edited")):
            session.add(
                OutcomeRow(
                    annotation=number, region="r", field="caption", project=1, task=1, arm="assist",
                    outcome=outcome, suggested=[], final=[], options=[], question="?", labels=[],
                    model_version="mini@base",
                )
            )  # fmt: skip
    found = samples(stage)
    assert found["regiontext_outcomes", ("mini@base", "assist", "accepted")] == 2
    assert found["regiontext_outcomes", ("mini@base", "assist", "edited")] == 1
    assert found["regiontext_events_waiting", ()] == 0


def test_paths_nobody_serves_share_one_series(set_stage: SetStage) -> None:
    stage = set_stage()
    for number in range(5):
        stage.http.get(f"/wp-admin/{number}")
    routes = {labels[0] for name, labels in samples(stage) if name.startswith("regiontext_request")}
    assert "other" in routes and not any("wp-admin" in route for route in routes)


def test_ready_when_the_model_answers(set_stage: SetStage) -> None:
    stage = set_stage()
    assert until_ready(stage).json() == {"ready": True, "missing": []}


def test_not_ready_without_a_model(set_stage: SetStage) -> None:
    stage = set_stage(stub=StubModel(down=True))
    answer = stage.http.get("/ready")
    assert answer.status_code == 503 and answer.json()["missing"] == ["model"]
    assert stage.http.get("/health").status_code == 200


def test_metrics_need_the_basic_auth_where_it_is_set_and_ready_does_not(
    set_stage: SetStage,
) -> None:
    stage = set_stage(basic_auth_user="bob", basic_auth_password="s3cret")
    assert stage.http.get("/metrics").status_code == 401
    key = base64.b64encode(b"bob:s3cret").decode()
    assert samples(stage, Authorization=f"Basic {key}")
    assert stage.http.get("/ready").status_code in (200, 503)
