"""The compose file, the CI workflow and the Dockerfiles agree with their schemas and with the project."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.compose-spec", "docker-compose.yml"),
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
    ],
)
def test_file_follows_its_published_schema(schema: str, path: str) -> None:
    checked = subprocess.run(
        [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", schema, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_every_build_names_an_existing_dockerfile_that_copies_existing_paths(
    compose: dict[str, Any],
) -> None:
    builds = [service["build"] for service in compose["services"].values() if "build" in service]
    assert len(builds) == 4
    for build in builds:
        text = (ROOT / build["dockerfile"]).read_text()
        for sources in re.findall(r"^COPY (.+) \S+$", text, flags=re.M):
            for source in sources.split():
                assert (ROOT / source).exists(), f"{build['dockerfile']} copies {source}"


def test_only_the_gpu_profile_reserves_an_nvidia_device(compose: dict[str, Any]) -> None:
    reserving = {name for name, service in compose["services"].items() if "deploy" in service}
    assert reserving == {"model-server-gpu"}
    assert compose["services"]["model-server-gpu"]["profiles"] == ["gpu"]
    assert compose["services"]["model-server-cpu"]["profiles"] == ["cpu"]


def test_every_required_variable_stands_in_the_example(compose: dict[str, Any]) -> None:
    required = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / "docker/env.example").read_text()
    offered = set(re.findall(r"^(\w+)=", example, flags=re.M))
    assert required <= offered


def test_backend_variables_are_settings(compose: dict[str, Any]) -> None:
    from backend.settings import Settings

    given = compose["services"]["backend"]["environment"]
    names = {key.removeprefix("REGIONTEXT_").lower() for key in given}
    assert names <= set(Settings.model_fields)


def test_the_values_that_stand_for_unset_variables_are_ones_the_settings_take(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable is not the same as none."""
    from backend.settings import Settings

    given = compose["services"]["backend"]["environment"]
    for name, value in given.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:(?:-([^}]*)|\?[^}]*)\}", r"\1", value))
    monkeypatch.setenv("REGIONTEXT_BASIC_AUTH_PASSWORD", "set")
    found, default = Settings(_env_file=None), Settings.model_fields
    for name in ("view", "allowed_image_hosts", "allow_private_image_hosts", "max_tokens"):
        assert getattr(found, name) == default[name].default, name
    assert not found.model and found.assist_secret is None


def test_secrets_stay_out_of_git_and_of_the_images() -> None:
    for ignored in (".gitignore", ".dockerignore"):
        assert ".env" in (ROOT / ignored).read_text().splitlines(), ignored


def test_every_image_that_is_told_of_postgresql_has_its_driver(compose: dict[str, Any]) -> None:
    """The model server's image too: `regiontext finetune` runs there."""
    told = [
        service
        for service in compose["services"].values()
        if "postgresql" in service.get("environment", {}).get("REGIONTEXT_DATABASE_URL", "")
    ]
    assert len(told) == 3
    for service in told:
        text = (ROOT / service["build"]["dockerfile"]).read_text()
        (extras,) = re.findall(r"pip install .*'\.\[([\w,]+)\]'", text)
        assert "postgres" in extras.split(","), service["build"]["dockerfile"]


def test_images_pin_the_label_studio_that_the_extra_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pinned,) = project["optional-dependencies"]["label-studio"]
    assert pinned in (ROOT / "docker/Dockerfile.label-studio").read_text()
