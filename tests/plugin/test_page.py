"""The page's own modules: their tests run under Node, and they stay small and free of dependencies."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "plugin" / "page"
MODULES = sorted(PAGE.glob("*.js"))


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_modules_do_what_their_own_tests_say() -> None:
    tests = [str(file) for file in sorted(Path(__file__).parent.glob("*.test.mjs"))]
    assert tests
    done = subprocess.run(
        ["node", "--test", *tests], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_page_is_small() -> None:
    size = sum(file.stat().st_size for file in [*MODULES, *PAGE.glob("*.css")])
    assert size <= 40_000, f"{size} bytes"


def test_modules_import_only_each_other() -> None:
    names = {f"./{file.name}" for file in MODULES}
    for file in MODULES:
        found = re.findall(
            r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", file.read_text(encoding="utf-8")
        )
        assert set(found) <= names, file.name


def test_only_the_adapter_touches_the_editor() -> None:
    for file in MODULES:
        text = file.read_text(encoding="utf-8")
        if file.name not in ("adapter.js", "main.js"):
            assert "Htx" not in text and "lsf-" not in text, file.name
    # The loader only looks whether a task is open.
    assert (PAGE / "main.js").read_text(encoding="utf-8").count("Htx") == 1


def test_nothing_secret_is_in_the_page() -> None:
    for file in MODULES:
        assert "secret" not in file.read_text(encoding="utf-8").lower(), file.name
