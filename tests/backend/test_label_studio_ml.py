"""The model for label-studio-ml: under a stand-in for each line's base class, and in the real server of 1.0.9."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import Response

from backend.running import running_backend
from backend.store import EventRow, Store, open_store
from regiontext.labelstudio.decode import is_shape
from tests.backend.calls import captions, rectangle
from tests.backend.mutations import lost
from tests.backend.site import serving
from tests.backend.stubs import StubHost, StubModel, photo
from tests.backend.waiting import wait_for
from tests.label_studio_server import free_port, stop, wait_until_up

Payload = Callable[[str], Any]
PLACE = "REGIONTEXT_TEST_LABEL_STUDIO_ML"
HOW = (
    "pip install --no-deps --target DIR -r tests/label-studio-ml.txt && "
    f"{PLACE}=DIR python -m pytest tests/backend/test_label_studio_ml.py"
)


class Base1:
    """What 1.0.9 offers to a model, and how its server calls it."""

    TRAIN_EVENTS: ClassVar[tuple[str, ...]] = ("ANNOTATION_CREATED", "PROJECT_UPDATED")

    def __init__(self, label_config: Any = None, train_output: Any = None, **kwargs: Any) -> None:
        self.label_config = label_config
        self.train_output = train_output or {}

    @classmethod
    def serve(cls, body: dict[str, Any]) -> Any:
        model: Any = cls(label_config=body["label_config"], hostname="", access_token="dead")
        return model.predict(body["tasks"], **body["params"])

    @classmethod
    def hook(cls, body: dict[str, Any]) -> Any:
        model: Any = cls(label_config=body["project"].get("label_config"), train_output=None)
        event = body["action"]
        if event in cls.TRAIN_EVENTS:
            return model.fit((), event=event, data=body, job_id="1", workdir=".")
        return None


class Base2:
    """What 2.x offers to a model, and how its server calls it."""

    TRAIN_EVENTS: ClassVar[tuple[str, ...]] = ("ANNOTATION_CREATED", "START_TRAINING")
    cache: ClassVar[dict[str, Any]] = {}

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        self.label_config = label_config
        self.setup()

    def setup(self) -> None:
        raise AssertionError("not overridden")

    def get(self, key: str) -> Any:
        return self.cache.get(key)

    def set(self, key: str, value: Any) -> None:
        self.cache[key] = value

    @classmethod
    def serve(cls, body: dict[str, Any]) -> Any:
        params = dict(body["params"])
        context = params.pop("context", {})
        model: Any = cls(
            project_id=body["project"].split(".")[0], label_config=body["label_config"]
        )
        return model.predict(body["tasks"], context=context, **params)

    @classmethod
    def hook(cls, body: dict[str, Any]) -> Any:
        project = body["project"]
        model: Any = cls(str(project["id"]), label_config=project.get("label_config"))
        return model.fit(body["action"], body)


def imported(monkeypatch: pytest.MonkeyPatch, base: type) -> ModuleType:
    """backend.label_studio_ml on top of that base class, for this test only."""
    package, model = ModuleType("label_studio_ml"), ModuleType("label_studio_ml.model")
    model.LabelStudioMLBase = base  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", model)
    monkeypatch.delitem(sys.modules, "backend.label_studio_ml", raising=False)
    module = importlib.import_module("backend.label_studio_ml")
    monkeypatch.delitem(sys.modules, "backend.label_studio_ml")
    return module


@pytest.fixture
def stub() -> StubModel:
    return StubModel()


@pytest.fixture(params=[Base1, Base2], ids=["1.0.9", "2.x"])
def model(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stub: StubModel,
) -> Iterator[Any]:
    """The model's class, its network replaced by stand-ins."""
    host = StubHost()
    for name, value in settings(tmp_path, "http://label-studio:8080", "http://model/v1").items():
        monkeypatch.setenv(name, value)
    module = imported(monkeypatch, request.param)
    opening = functools.partial(
        running_backend,
        model_transport=stub.transport(),
        image_transport=host.transport(),
        processor=lambda *_: None,
    )
    monkeypatch.setattr(module, "running_backend", opening)
    Base2.cache.clear()
    yield module.RegiontextModel
    module.RegiontextModel.backends.close()


def settings(folder: Path, label_studio: str, model: str) -> dict[str, str]:
    return {
        "REGIONTEXT_LABEL_STUDIO_URL": label_studio,
        "REGIONTEXT_LABEL_STUDIO_API_KEY": StubHost().token,
        "REGIONTEXT_MODEL_URL": model,
        "REGIONTEXT_DATA_DIR": str(folder / "data"),
        "REGIONTEXT_HOLDOUT": "0",
        "REGIONTEXT_CONTROL": "0",
    }


def ids(results: list[dict[str, Any]]) -> set[str]:
    return {item["id"] for item in results if is_shape(item)}


def boxes(body: dict[str, Any], count: int) -> dict[str, Any]:
    """A batch call about as many tasks, each with two boxes that an older prediction found."""
    made = copy.deepcopy(body)
    found = {"model_version": "detector", "result": [rectangle("a"), rectangle("b", x=60.0)]}
    made["tasks"] = [made["tasks"][0] | {"id": n, "predictions": [found]} for n in range(count)]
    return made


@pytest.mark.parametrize("name", ["with_draft", "with_prediction", "keypoint"])
def test_every_region_of_an_interactive_call_comes_back(
    model: Any, payload: Payload, name: str
) -> None:
    body = payload(f"request_predict_interactive_{name}")["body"]
    entries = model.serve(body)
    assert len(entries) == 1
    assert lost(body, {"results": entries}) == []


def test_a_drawn_region_is_filled(model: Any, payload: Payload, stub: StubModel) -> None:
    body = copy.deepcopy(payload("request_predict_interactive_with_draft")["body"])
    body["params"]["context"]["result"] = [rectangle("new", x=5, y=60)]
    (entry,) = model.serve(body)
    assert captions(entry["result"]) == {"new": ("a red car",)}
    (again,) = model.serve(body)
    assert ids(again["result"]) == {"new"}
    assert stub.asked


def test_a_batch_call_gets_an_entry_per_task_with_its_version(model: Any, payload: Payload) -> None:
    entries = model.serve(boxes(payload("request_predict_batch")["body"], 3))
    assert len(entries) == 3
    for entry in entries:
        assert set(captions(entry["result"])) == {"a", "b"}
        assert entry["model_version"].startswith("stub-model@base+r")
    # Recorded tasks have no regions: nothing to store, so that they are asked about again.
    assert model.serve(payload("request_predict_batch")["body"]) == [[], [], []]


def test_a_region_is_not_lost_when_nothing_works(
    model: Any, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGIONTEXT_DATABASE_URL", "sqlite:////proc/nowhere/regiontext.db")
    body = copy.deepcopy(payload("request_predict_interactive_with_draft")["body"])
    shape = rectangle("new") | {"score": float("nan")}
    body["params"]["context"]["result"] = [shape]
    assert model.serve(body) == [{"result": [shape | {"score": None}]}]
    assert model.serve(boxes(payload("request_predict_batch")["body"], 2)) == [[], []]


def test_it_works_once_what_was_wrong_is_mended(
    model: Any, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = copy.deepcopy(payload("request_predict_interactive_with_draft")["body"])
    body["params"]["context"]["result"] = [rectangle("new", x=5, y=60)]
    monkeypatch.setenv("REGIONTEXT_DATABASE_URL", "sqlite:////proc/nowhere/regiontext.db")
    model.serve(body)
    monkeypatch.delenv("REGIONTEXT_DATABASE_URL")
    assert captions(model.serve(body)[0]["result"]) == {"new": ("a red car",)}


def events(store: Store) -> list[str]:
    with store.read() as session:
        return [event.action for event in session.query(EventRow).order_by(EventRow.id)]


@pytest.mark.parametrize("name", ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "START_TRAINING"])
def test_webhooks_are_kept(model: Any, payload: Payload, name: str) -> None:
    recorded = payload(f"webhook_{name}")
    model.hook(copy.deepcopy(recorded.get("body", recorded)))
    assert events(model.backends.get().backend(5).store) == [name]


def test_2x_is_told_the_model_version_of_the_labeling_config(model: Any, payload: Payload) -> None:
    if not issubclass(model, Base2):
        assert "setup" not in vars(Base1)
        return
    xml = payload("request_setup")["body"]["schema"]
    backend = model.backends.get().backend(5)
    wait_for(lambda: backend.assistant.model.is_up)

    def version(config: str) -> str:
        return str(model(project_id="3", label_config=config).get("model_version"))

    wait_for(lambda: version(xml).startswith("stub-model@base+r"))
    assert version(xml) != version(xml.replace('name="caption"', 'name="colour"'))


def test_without_label_studio_ml_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "label_studio_ml", None)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", None)
    monkeypatch.delitem(sys.modules, "backend.label_studio_ml", raising=False)
    with pytest.raises(ImportError, match=r"pip install --no-deps label-studio-ml==1\.0\.9"):
        importlib.import_module("backend.label_studio_ml")


# --- the real server -----------------------------------------------------------------------------


def image_host() -> FastAPI:
    app, picture = FastAPI(), photo()

    @app.get("/data/{path:path}")
    async def image(path: str) -> Response:
        return Response(picture, media_type="image/png")

    return app


@pytest.fixture(scope="module")
def installed() -> dict[str, str]:
    """The environment in which label-studio-ml can be imported."""
    root = str(Path(__file__).parents[2])
    paths = [path for path in (os.environ.get(PLACE), root) if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    tried = subprocess.run(
        [sys.executable, "-c", "import label_studio_ml.server"],
        env=environment,
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        why = tried.stderr.strip().splitlines()[-1]
        pytest.skip(f"label-studio-ml cannot be imported ({why}); to run it: {HOW}")
    return environment


@pytest.fixture(scope="module")
def server(
    installed: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, Path]]:
    """What `label-studio-ml init` makes and `label-studio-ml start` runs, with a model and images to ask for."""
    folder = tmp_path_factory.mktemp("label-studio-ml")
    script = folder / "model.py"
    script.write_text("from backend.label_studio_ml import RegiontextModel\n")
    made = [sys.executable, "-m", "label_studio_ml.server", "init", "ours"]
    subprocess.run(
        [*made, "--script", f"{script}:RegiontextModel"], cwd=folder, env=installed, check=True
    )
    port, log = free_port(), folder / "server.log"
    with (
        serving(StubModel().app(), free_port()) as model,
        serving(image_host(), free_port()) as host,
        log.open("wb") as output,
    ):
        process = subprocess.Popen(
            [
                sys.executable,
                str(folder / "ours" / "_wsgi.py"),
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ],
            env=installed | settings(folder, host, f"{model}/v1"),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_up(f"{url}/health", process, log, seconds=60)
            with httpx.Client(base_url=url, timeout=30) as http:
                yield http, folder
        finally:
            stop(process)


def posted(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.is_success, answer.text[-2000:]
    found: dict[str, Any] = answer.json()
    return found


def test_the_server_of_1_0_9_answers_what_label_studio_sends(
    server: tuple[httpx.Client, Path], payload: Payload
) -> None:
    http, folder = server
    posted(http, "/setup", payload("request_setup")["body"])
    # The project of the last /setup is another one: the config of each request counts.
    body = copy.deepcopy(payload("request_predict_interactive_with_draft")["body"])
    body["params"]["context"]["result"] = [rectangle("new", x=5, y=60)]
    answer = posted(http, "/predict", body)
    assert captions(answer["results"][0]["result"]) == {"new": ("a red car",)}

    entries = posted(http, "/predict", boxes(payload("request_predict_batch")["body"], 3))[
        "results"
    ]
    assert [set(captions(entry["result"])) for entry in entries] == [{"a", "b"}] * 3
    assert entries[0]["model_version"].startswith("stub-model@base+r")
    recorded = payload("request_predict_batch")["body"]
    assert posted(http, "/predict", recorded)["results"] == [[], [], []]

    hook = payload("webhook_ANNOTATION_CREATED")
    posted(http, "/webhook", hook.get("body", hook))
    store = open_store(f"sqlite:///{folder / 'data' / 'regiontext.db'}")
    try:
        wait_for(lambda: events(store) == ["ANNOTATION_CREATED"], seconds=60)
    finally:
        store.close()
