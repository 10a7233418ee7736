from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from backend import registry
from backend.jobs.runs import record_result, register
from backend.model_client import ModelClient
from backend.registry import Aliases, RegistryError
from backend.store import ImageRow, ModelVersionRow, Store, SuggestionRow, open_store

T = TypeVar("T")
BASE = "mini"


class Server:
    """A model server as far as its adapters go."""

    def __init__(self) -> None:
        self.adapters: dict[str, str] = {}
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        if request.url.path.endswith("/load_lora_adapter"):
            body = json.loads(request.content)
            self.adapters[body["lora_name"]] = body["lora_path"]
        elif request.url.path.endswith("/unload_lora_adapter"):
            self.adapters.pop(json.loads(request.content)["lora_name"], None)
        return httpx.Response(200, json={"data": self.announced()})

    def announced(self) -> list[dict[str, Any]]:
        return [{"id": BASE}, *({"id": name, "parent": BASE} for name in self.adapters)]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    for number in (1, 2, 3):
        adapter = tmp_path / f"{number:04d}" / "adapter"
        adapter.mkdir(parents=True)
        (adapter / "adapter_config.json").write_text(str(number))
        name = f"{BASE}:{number:04d}"
        register(opened, name, base=BASE, adapter=adapter, run_dir=adapter.parent)
        record_result(opened, name, {"reason": "not proved"}, promote=False)
    yield opened
    opened.close()


@pytest.fixture
def do(server: Server) -> Callable[[Callable[[ModelClient], Coroutine[Any, Any, T]]], T]:
    def run(work: Callable[[ModelClient], Coroutine[Any, Any, T]]) -> T:
        async def inside() -> T:
            transport = httpx.MockTransport(server)
            async with ModelClient("http://model/v1", transport=transport) as client:
                return await work(client)

        return asyncio.run(inside())

    return run


Do = Callable[[Callable[[ModelClient], Any]], Any]


def now(store: Store) -> Aliases:
    with store.read() as session:
        return registry.aliases(session, BASE)


def test_promoting_and_rolling_back_walk_the_same_way(store: Store, server: Server, do: Do) -> None:
    assert now(store) == Aliases(BASE, None, None)
    do(lambda c: registry.promote(store, c, "mini:0001"))
    do(lambda c: registry.promote(store, c, "mini:0003"))
    assert now(store) == Aliases(BASE, "mini:0003", "mini:0001")
    assert set(server.adapters) == {"mini:0001", "mini:0003"}
    do(lambda c: registry.rollback(store, c, BASE))
    assert now(store) == Aliases(BASE, "mini:0001", None)
    do(lambda c: registry.rollback(store, c, BASE))
    assert now(store) == Aliases(BASE, None, None)
    with pytest.raises(RegistryError, match="nothing to go back to"):
        do(lambda c: registry.rollback(store, c, BASE))
    changes = [(e.action, e.name, e.before) for e in registry.events(store)]
    assert changes == [
        ("promote", "mini:0001", None),
        ("promote", "mini:0003", "mini:0001"),
        ("rollback", "mini:0001", "mini:0003"),
        ("rollback", None, "mini:0001"),
    ]


def test_promoting_what_is_served_changes_nothing(store: Store, do: Do) -> None:
    do(lambda c: registry.promote(store, c, "mini:0001"))
    do(lambda c: registry.promote(store, c, "mini:0002"))
    assert do(lambda c: registry.promote(store, c, "mini:0002")).previous == "mini:0001"
    assert len(registry.events(store)) == 2


def test_rolling_back_needs_no_model_server(store: Store, server: Server, do: Do) -> None:
    do(lambda c: registry.promote(store, c, "mini:0001"))
    do(lambda c: registry.promote(store, c, "mini:0002"))
    server.down = True
    assert do(lambda c: registry.rollback(store, c, BASE)).champion == "mini:0001"
    assert do(lambda c: registry.rollback(store, c, BASE, to_base=True)).champion is None


def test_a_changed_adapter_is_not_served(
    store: Store, server: Server, do: Do, tmp_path: Path
) -> None:
    (tmp_path / "0002" / "adapter" / "adapter_config.json").write_text("other")
    with pytest.raises(RegistryError, match=r"adapter_config\.json: changed"):
        do(lambda c: registry.promote(store, c, "mini:0002"))
    (tmp_path / "0003" / "adapter" / "adapter_config.json").unlink()
    with pytest.raises(RegistryError, match="missing"):
        do(lambda c: registry.promote(store, c, "mini:0003"))
    with pytest.raises(RegistryError, match="there are: mini:0001"):
        do(lambda c: registry.promote(store, c, "mini:0009"))
    assert server.adapters == {}
    assert now(store).champion is None


def test_the_gate_promotes_into_the_same_history(store: Store) -> None:
    record_result(store, "mini:0002", {"reason": "better: +0.1"}, promote=True)
    event = registry.events(store)[0]
    assert (event.name, event.reason) == ("mini:0002", "better: +0.1")
    assert registry.versions(store)[1].metrics["files"]["adapter_config.json"]


def test_the_server_is_brought_in_line(
    store: Store, server: Server, do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(lambda c: registry.promote(store, c, "mini:0001"))
    do(lambda c: registry.promote(store, c, "mini:0002"))
    server.adapters["mine"] = "/else"
    told = do(lambda c: registry.tidy(store, c, server.announced()))
    assert told == []  # A call that began before the change may still ask for what is retired.
    monkeypatch.setattr(registry, "LINGER_S", 0.0)
    told = do(lambda c: registry.tidy(store, c, server.announced()))
    assert told == ["unloaded mini:0001"]
    assert set(server.adapters) == {"mini:0002", "mine"}
    server.adapters.clear()
    told = do(lambda c: registry.tidy(store, c, server.announced()))
    assert told == ["loaded mini:0002"]


def test_a_challenger_is_another_version_and_ends_when_promoted(store: Store, do: Do) -> None:
    do(lambda c: registry.promote(store, c, "mini:0001"))
    shadow = do(lambda c: registry.set_shadow(store, c, BASE, "mini:0002", 0.25))
    assert (shadow.challenger, shadow.share) == ("mini:0002", 0.25)
    with pytest.raises(RegistryError, match="served already"):
        do(lambda c: registry.set_shadow(store, c, BASE, "mini:0001", 0.25))
    with pytest.raises(RegistryError, match="above 0"):
        do(lambda c: registry.set_shadow(store, c, BASE, "mini:0002", 0.0))
    do(lambda c: registry.promote(store, c, "mini:0002"))
    assert now(store).challenger is None
    do(lambda c: registry.set_shadow(store, c, BASE, "mini:0003", 1.0))
    assert do(lambda c: registry.set_shadow(store, c, BASE, None, 0.0)).challenger is None


def test_old_predictions_are_counted_by_task(store: Store) -> None:
    def row(id: str, task: int, model: str, path: str = "batch") -> SuggestionRow:
        return SuggestionRow(
            id=id, project=1, task=task, region="r", field="f", question="q", question_hash="h",
            options=[], prompt="p", render_hash="h", image_hash="i", view={}, model_version=model,
            model=model, decoding={}, value=["x"], confidence=None, path=path,
        )  # fmt: skip

    with store.begin() as session:
        session.add(ImageRow(hash="i", task=1, project=1, width=8, height=8, arm="assist"))
        session.flush()
        session.add_all(
            [
                row("a", 1, "mini"),
                row("b", 1, "mini:0001"),
                row("c", 2, "mini"),
                row("d", 2, "mini"),
                row("e", 3, "mini", "interactive"),
            ]
        )
    with store.read() as session:
        assert registry.out_of_date(session, "mini:0001") == {1: 1}
        assert registry.out_of_date(session, "other") == {1: 2}


def test_versions_are_listed_with_their_aliases(store: Store, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from backend.cli.app import app

    record_result(store, "mini:0001", {"reason": "better: +0.1", "challenger": 0.5}, promote=True)
    with store.read() as session:
        assert session.get(ModelVersionRow, "mini:0001") is not None
    if not str(store.engine.url).startswith("sqlite"):
        pytest.skip("the command finds its SQLite file in the data folder")
    said = CliRunner().invoke(
        app, ["versions", "--data-dir", str(tmp_path / "regiontext-data")], env={"COLUMNS": "200"}
    )
    assert said.exit_code == 0, said.output
    assert "mini:0001  champion" in said.output
    assert "0.500" in said.output
