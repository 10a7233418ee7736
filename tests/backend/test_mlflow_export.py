from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from backend.mlflow_export import export_versions
from backend.registry import RegistryError
from backend.store import ModelVersionRow


class Client:
    """As much of MlflowClient as is called; what it was told stays."""

    runs: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, tracking_uri: str) -> None:
        if tracking_uri == "bad":
            raise MlflowFault("no such place")

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return "1"

    def search_runs(self, ids: list[str], filter_string: str) -> list[str]:
        return [run for run in self.runs if f"'{run}'" in filter_string]

    def create_run(self, experiment: str, tags: dict[str, str], run_name: str) -> Any:
        self.runs[run_name] = {"tags": tags}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_metric(self, run: str, name: str, value: float) -> None:
        self.runs[run][name] = value

    def log_param(self, run: str, name: str, value: str) -> None:
        self.runs[run][name] = value

    def log_artifact(self, run: str, path: str) -> None:
        self.runs[run].setdefault("artifacts", []).append(Path(path).name)

    def set_terminated(self, run: str) -> None:
        self.runs[run]["done"] = True


class MlflowFault(Exception):
    pass


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    monkeypatch.setattr(Client, "runs", {})
    exceptions = SimpleNamespace(MlflowException=MlflowFault)
    monkeypatch.setitem(
        sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client, exceptions=exceptions)
    )
    return Client


def version(folder: Path) -> ModelVersionRow:
    (folder / "manifest.json").write_text("{}")
    metrics = {
        "reason": "better", "champion": 0.5, "challenger": 0.6, "files": {"a": "ff"},
        "overall": {"mean": 0.1, "low": 0.05, "high": 0.2},
    }  # fmt: skip
    return ModelVersionRow(
        name="mini:0001", base="mini", status="champion", metrics=metrics, run_dir=str(folder)
    )


def test_each_version_is_written_once(mlflow: type[Client], tmp_path: Path) -> None:
    row = version(tmp_path)
    assert export_versions([row], "file:x") == 1
    assert export_versions([row], "file:x") == 0
    run = mlflow.runs["mini:0001"]
    assert (run["challenger"], run["difference_low"], run["sha256/a"]) == (0.6, 0.05, "ff")
    assert run["artifacts"] == ["manifest.json"]
    assert run["tags"]["regiontext.reason"] == "better"


def test_what_goes_wrong_is_said(
    mlflow: type[Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegistryError, match="no such place"):
        export_versions([version(tmp_path)], "bad")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(RegistryError, match="pip install mlflow-skinny"):
        export_versions([version(tmp_path)], "file:x")
