"""Imports run one way, `backend → regiontext ← model_server`, and every public module says what it offers.

`plugin` stands apart: it runs in Label Studio's process, where nothing of ours has to be installed, and meets the
backend over HTTP only, by one module.

Read from the source, so that an import inside a function counts like one at the top.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

WEB = ("fastapi", "starlette", "uvicorn", "httpx", "requests", "label_studio_sdk")
STORE = ("sqlalchemy", "alembic", "psycopg")
TORCH = ("torch", "transformers", "peft", "trl", "accelerate", "safetensors")

FORBIDDEN = {
    "regiontext": ("backend", "model_server", "plugin", *WEB, *STORE, *TORCH),
    "backend": ("model_server", "plugin", *TORCH),
    "model_server": ("backend", "plugin", "label_studio_sdk", *STORE),
    "plugin": ("backend", "model_server", "regiontext", *STORE, *TORCH),
}

# What Label Studio's process has: `core`, `ml` and `tasks` are packages of Label Studio itself.
BESIDE_PLUGIN = {"plugin", "core", "ml", "tasks", "django", "requests", *sys.stdlib_module_names}

WITHOUT_ALL = {
    # Django reads every name of these; alembic looks for the others by their own names.
    "backend/up/label_studio_settings.py",
    "plugin/settings.py",
    "plugin/urls.py",
    "backend/store/migrations/env.py",
    "backend/store/migrations/versions/0001_first_schema.py",
    "backend/store/migrations/versions/0002_projects.py",
    "backend/store/migrations/versions/0003_image_clusters.py",
    "backend/store/migrations/versions/0004_registry.py",
    "backend/store/migrations/versions/0005_outcome_figures.py",
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every module that is imported anywhere in a module, by statement or by a call with its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Relative imports stay in their package.
            if node.module and not node.level:
                yield node.lineno, node.module
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def offers(tree: ast.Module) -> list[str] | None:
    """What `__all__` lists; None without one."""
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        target = node.targets[0] if isinstance(node, ast.Assign) else target
        if isinstance(target, ast.Name) and target.id == "__all__":
            assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            return list(ast.literal_eval(node.value))
    return None


def defined(tree: ast.Module) -> set[str]:
    """The names that a module binds at its top, also under an `if`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package: str) -> None:
    found = sources(package)
    assert len(found) > (6 if package == "plugin" else 10)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in found
        for line, name in imported(tree_of(path))
        if name.partition(".")[0] in FORBIDDEN[package]
    ]
    assert wrong == []


def test_the_plugin_needs_only_what_label_studio_brings() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources("plugin")
        for line, name in imported(tree_of(path))
        if name.partition(".")[0] not in BESIDE_PLUGIN
    ]
    assert wrong == []


def test_one_module_of_the_plugin_speaks_http_and_it_knows_no_label_studio() -> None:
    speaks = ("requests", "http", "urllib", "socket", "ssl")
    found = {
        path.name: {name.partition(".")[0] for _, name in imported(tree_of(path))}
        for path in sources("plugin")
    }
    assert [name for name, names in found.items() if names & set(speaks)] == ["road.py"]
    assert not found["road.py"] & {"core", "ml", "tasks", "django"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_public_modules_say_what_they_offer(package: str) -> None:
    wrong = []
    for path in sources(package):
        name, tree = str(path.relative_to(ROOT)), tree_of(path)
        # A package's or program's file that binds nothing of its own offers nothing.
        own = any(isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Assign) for n in tree.body)
        if path.name in ("__init__.py", "__main__.py") and not own:
            continue
        listed = offers(tree)
        if listed is None:
            if name not in WITHOUT_ALL:
                wrong.append(f"{name} has no __all__")
        elif missing := [entry for entry in listed if entry not in defined(tree)]:
            wrong.append(f"{name} offers {missing}, which it does not have")
    assert wrong == []


def test_modules_take_from_each_other_only_what_is_offered() -> None:
    modules = {}
    for package in FORBIDDEN:
        for path in sources(package):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts).removesuffix(".__init__")] = path
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} takes {alias.name} from {node.module}"
        for path in modules.values()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
        if f"{node.module}.{alias.name}" not in modules
        and alias.name not in (offers(tree_of(modules[node.module])) or ())
    ]
    assert wrong == []


def test_imports_are_found_wherever_they_stand() -> None:
    tree = ast.parse(
        "import a.b as c, d\n"
        "from e.f import g\n"
        "from . import own\n"
        "def h():\n"
        "    import torch\n"
        "    importlib.import_module('model_server.worlds')\n"
        "    __import__('backend')\n"
    )
    assert sorted(name for _, name in imported(tree)) == [
        "a.b",
        "backend",
        "d",
        "e.f",
        "model_server.worlds",
        "torch",
    ]
    assert offers(ast.parse("__all__: list[str] = ['x']")) == ["x"]
    assert offers(ast.parse("x = 1")) is None
