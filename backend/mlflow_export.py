"""The registry's versions as runs of MLflow, for teams that keep theirs there. MLflow itself is optional.

Writes what is not there yet and changes nothing that is. Knows MLflow's client; knows no store.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backend.registry import RegistryError
from backend.store import ModelVersionRow

__all__ = ["EXPERIMENT", "export_versions"]

EXPERIMENT = "regiontext"
_TAG = "regiontext.version"


def export_versions(versions: Iterable[ModelVersionRow], uri: str) -> int:
    """Write each version as a run of the experiment EXPERIMENT: scores, verdict, hashes, manifest; how many were new.

    A version that a run names already is left alone. Raises RegistryError if MLflow is not installed, or refuses.
    """
    try:
        mlflow: Any = importlib.import_module("mlflow")
    except ImportError as error:
        raise RegistryError("MLflow is not installed here: pip install mlflow-skinny") from error
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        return sum(_write(client, experiment, version) for version in versions)
    except mlflow.exceptions.MlflowException as error:
        raise RegistryError(f"MLflow at {uri} refuses: {error}") from error


def _write(client: Any, experiment: str, version: ModelVersionRow) -> bool:
    told = client.search_runs([experiment], filter_string=f"tags.`{_TAG}` = '{version.name}'")
    if told:
        return False
    metrics = version.metrics
    tags = {
        _TAG: version.name,
        "regiontext.base": version.base,
        "regiontext.status": version.status,
        "regiontext.reason": str(metrics.get("reason", "")),
    }
    run = client.create_run(experiment, tags=tags, run_name=version.name).info.run_id
    for name in ("champion", "challenger", "luck"):
        if isinstance(metrics.get(name), int | float):
            client.log_metric(run, name, float(metrics[name]))
    overall = metrics.get("overall")
    for name in ("mean", "low", "high"):
        if isinstance(overall, Mapping) and isinstance(overall.get(name), int | float):
            client.log_metric(run, f"difference_{name}", float(overall[name]))
    files = metrics.get("files")
    for name, digest in sorted(files.items()) if isinstance(files, Mapping) else ():
        client.log_param(run, f"sha256/{name}", digest)
    for name in ("manifest.json", "verdict.html", "answers.jsonl"):
        path = Path(version.run_dir or "") / name
        if version.run_dir and path.is_file():
            client.log_artifact(run, str(path))
    client.set_terminated(run)
    return True
