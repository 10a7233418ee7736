"""What a server takes of its machine when nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_server.resources import batch_size, cpu_quota, max_batch_of, threads_here, threads_of


@pytest.mark.parametrize(
    ("cores", "usable", "quota", "threads"),
    [
        (8, 16, None, 8),  # two hardware threads to a core
        (8, 4, None, 4),
        (8, 16, 2.0, 2),
        (8, 16, 2.9, 2),
        (8, 16, 0.5, 1),
        (2, 16, 4.0, 2),
        (1, 1, None, 1),
    ],
)
def test_threads_fit_cores_affinity_and_quota(
    cores: int, usable: int, quota: float | None, threads: int
) -> None:
    assert threads_of(cores, usable, quota) == threads


def test_a_gpu_answers_more_together_as_its_memory_allows() -> None:
    assert batch_size("cpu", 2**40) == batch_size("mps", 2**40) == 16
    sizes = [batch_size("cuda", gib * 2**30) for gib in (0, 2, 10, 20, 32, 120)]
    assert sizes == [16, 16, 20, 40, 64, 64]
    assert max_batch_of("cpu") == 16


def quota(tmp_path: Path, own: str, **files: str) -> float | None:
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    (tmp_path / "own").write_text(own + "\n")
    return cpu_quota(tmp_path / "groups", tmp_path / "own")


V1 = "4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n0::/docker/a"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {}, None),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        ("0::/a", {"a/cpu.max": "nonsense", "b/cpu.max": "1 100000"}, None),
        ("0::/../../elsewhere", {"cpu.max": "300000 100000"}, 3.0),
        (
            V1,
            {
                "cpu,cpuacct/docker/a/cpu.cfs_quota_us": "400000",
                "cpu,cpuacct/docker/a/cpu.cfs_period_us": "100000",
                "memory/docker/a/cpu.cfs_quota_us": "1",
            },
            4.0,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_quota_of_control_groups(
    tmp_path: Path, own: str, files: dict[str, str], expected: float | None
) -> None:
    assert quota(tmp_path, own, **files) == expected


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") is None
    assert threads_here() >= 1
