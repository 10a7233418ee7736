"""The protocol against a real Label Studio: what it sends, what it makes of our answers, what it stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.security import WEBHOOK_SECRET_HEADER
from backend.store import EventRow
from regiontext.labelstudio.results import read_results
from tests.backend.calls import captions, rectangle
from tests.backend.site import SECRET, Site, running_site
from tests.backend.stubs import StubModel
from tests.backend.test_protocol import related
from tests.backend.waiting import wait_for
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.label_studio

Payload = Callable[[str], Any]


@pytest.fixture(scope="module")
def site(
    label_studio: LabelStudioServer, payload: Payload, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    xml = payload("request_predict_batch")["body"]["label_config"]
    folder = tmp_path_factory.mktemp("backend")
    with running_site(label_studio, xml, folder, StubModel(say=related)) as running:
        yield running


def test_it_is_connected_with_its_model_version(site: Site) -> None:
    found = site.call("GET", f"/api/ml/{site.backend['id']}")
    assert found["state"] == "CO" and found["model_version"].startswith("stub-model@base+r")


def test_a_drawn_region_is_filled_with_the_image_read_by_a_personal_token(site: Site) -> None:
    (task,) = site.upload()
    back = site.draw(task, rectangle("drawn"))
    assert captions(back) == {"drawn": ("a red car",)}


def test_pointing_reads_the_draft_that_label_studio_sends_along(site: Site) -> None:
    (task,) = site.upload()
    ellipse = {
        **{k: v for k, v in rectangle("old").items() if k != "value"},
        "value": {"x": 50, "y": 50, "radiusX": 20, "radiusY": 20, "ellipselabels": ["Tree"]},
        "from_name": "ell",
        "type": "ellipselabels",
    }
    site.call("POST", f"/api/tasks/{task}/drafts", json={"result": [ellipse], "lead_time": 1.0})
    point = rectangle("click") | {
        "value": {"x": 55.0, "y": 45.0, "width": 0.2, "keypointlabels": ["Point"]},
        "from_name": "kp",
        "type": "keypointlabels",
        "is_positive": True,
    }
    assert captions(site.draw(task, point)) == {"old": ("a red car",)}


def test_tasks_without_regions_get_no_prediction_and_are_asked_about_again(site: Site) -> None:
    tasks = site.upload(2)
    site.retrieve()
    assert [site.predictions(task) for task in tasks] == [[], []]


def test_more_tasks_than_fit_are_handed_to_a_job_that_stores_each_once(site: Site) -> None:
    tasks = site.upload(6)
    for task in tasks:
        boxes = [rectangle("a"), rectangle("b", "Person", x=60.0)]
        body = {"task": task, "model_version": "detector", "result": boxes}
        site.call("POST", "/api/predictions", json=body)

    def ours(task: int) -> list[Any]:
        return [p for p in site.predictions(task) if p["model_version"] != "detector"]

    site.retrieve()
    site.jobs_done(1)
    for task in tasks:
        (prediction,) = ours(task)
        assert set(captions(prediction["result"])) == {"a", "b"}
        assert len(read_results(prediction["result"]).relations) == 1
    before = len(site.stub.asked)
    site.retrieve()
    site.jobs_done(1)
    assert len(site.stub.asked) == before
    assert [len(ours(task)) for task in tasks] == [1] * 6


def events(site: Site) -> list[str]:
    with site.app.state.backend.store.read() as session:
        return [event.action for event in session.query(EventRow).order_by(EventRow.id)]


def test_webhooks_arrive_with_the_secret_and_start_training_with_basic_auth(site: Site) -> None:
    (task,) = site.upload()
    query = {"project": site.project}
    (hook,) = site.call("GET", "/api/webhooks/", params=query)
    annotation = {"result": [rectangle("x")]}
    site.call("POST", f"/api/tasks/{task}/annotations/", json=annotation)
    assert "ANNOTATION_CREATED" not in events(site)
    headers = {WEBHOOK_SECRET_HEADER: SECRET}
    change = {"headers": headers, "send_for_all_actions": True}
    site.call("PATCH", f"/api/webhooks/{hook['id']}/", params=query, json=change)
    started = time.monotonic()
    site.call("POST", f"/api/tasks/{task}/annotations/", json=annotation)
    assert time.monotonic() - started < 1.0
    wait_for(lambda: "ANNOTATION_CREATED" in events(site))
    site.call("POST", f"/api/ml/{site.backend['id']}/train", json={})
    wait_for(lambda: "START_TRAINING" in events(site))


def test_the_doctor_finds_all_hops_working_then_the_one_that_broke(site: Site) -> None:
    """The last test of the module: it connects the site anew, as `regiontext connect` does."""
    from backend.connect import connect
    from backend.doctor import chain, examine
    from backend.label_studio import client as authorised

    site.upload()
    backend, settings = site.app.state.backend, site.app.state.backend.settings
    url = str(site.backend["url"])
    here = settings.model_copy(update={"public_url": url})
    hooks = site.call("GET", "/api/webhooks/", params={"project": site.project})

    def examined() -> dict[str, str]:
        with authorised(here) as client:
            hops = chain(
                here,
                site.project,
                client=client,
                store=lambda: backend.store,
                model_transport=site.stub.transport(),
            )
            return {f.name: f"{f.state}: {f.words}" for f in examine(hops)}

    with authorised(here) as client:
        connect(client, site.project, url, secret=SECRET, basic_auth=("ls", "pw"))
    found = examined()
    assert {line.split(":")[0] for line in found.values()} <= {"works", "doubtful"}, found
    assert found["delivery"].startswith("works: an event arrived")
    assert "1.23.2" in found["Label Studio"] and "personal access token" in found["key"]
    (hook,) = site.call("GET", "/api/webhooks/", params={"project": site.project})
    assert hook["id"] == hooks[0]["id"] and "PROJECT_UPDATED" not in hook["actions"]

    headers = {WEBHOOK_SECRET_HEADER: "wrong"}
    kept = {k: hook[k] for k in ("url", "actions", "send_payload", "send_for_all_actions")}
    site.call("PATCH", f"/api/webhooks/{hook['id']}/", json=kept | {"headers": headers})
    broken = examined()
    assert broken["webhook"].startswith("wrong: the webhook carries another secret")
    assert broken["delivery"].startswith("unknown: not tried: needs webhook")
