"""`regiontext versions`, `promote`, `rollback` and `shadow`: which version of the model is served.

Works on the database and the model server, whether the backend runs or not. Knows nothing of how versions are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, errors_in_one_line, output

if TYPE_CHECKING:
    from backend.model_client import ModelClient
    from backend.registry import Aliases
    from backend.settings import Settings
    from backend.store import Store

__all__ = ["add_to", "promote", "rollback", "shadow", "versions"]

_STYLES = {"champion": "bold green", "rejected": "dim", "retired": "dim"}
# Label Studio is told after the change; it also asks by itself before its next prediction.
_TELL_S = 3.0

Change = Callable[["Store", "ModelClient", str], Awaitable["Aliases"]]

Name = Annotated[str, typer.Argument(help="As `regiontext versions` lists it.", metavar="NAME")]
Why = Annotated[str, typer.Option("--reason", help="Kept with the change.")]


def add_to(app: typer.Typer, *, panel: str) -> None:
    """Add the commands."""
    for command in (versions, promote, rollback, shadow):
        app.command(rich_help_panel=panel)(command)


def versions(
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Also write them to this MLflow tracking server or folder."
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the versions of the model: what is served, what was, and why the others are not."""
    with errors_in_one_line():
        from backend import registry
        from backend.store import open_store
        from backend.up.settings import find_settings

        store = open_store(find_settings(data_dir).database_url)
        try:
            rows = registry.versions(store)
            if mlflow is not None:
                from backend.mlflow_export import export_versions

                written = export_versions(rows, mlflow)
                output().print(Text(f"{written} new versions written to {mlflow}"), soft_wrap=True)
            with store.read() as session:
                known = {row.base: registry.aliases(session, row.base) for row in rows}
        finally:
            store.close()
        if not rows:
            output().print("there are no versions yet: regiontext finetune makes the first")
            return
        table = Table("version", "alias", "state", "score", "trained", "verdict", box=None)
        for row in rows:
            now = known[row.base]
            names = {now.champion: "champion", now.previous: "previous"}
            if now.challenger:
                names[now.challenger] = f"challenger ({now.share:.0%} unseen)"
            alias, score = names.get(row.name, ""), row.metrics.get("challenger")
            table.add_row(
                Text(row.name),
                Text(alias, _STYLES.get(alias, "")),
                Text(row.status, _STYLES.get(row.status, "")),
                f"{score:.3f}" if isinstance(score, float) else "",
                f"{row.created_at:%Y-%m-%d %H:%M}",
                Text(str(row.metrics.get("reason", ""))),
            )
        output().print(table)


def promote(
    name: Name,
    reason: Why = "by hand",
    prelabel: Annotated[
        bool, typer.Option("--prelabel", help="Let the backend renew the older predictions.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Serve a version from the next question on, whatever the gate said of it.

    No request fails meanwhile. The version before it can be had back with regiontext rollback.
    """

    async def change(store: Store, client: ModelClient, base: str) -> Aliases:
        from backend.registry import promote as do

        return await do(store, client, name, reason=reason)

    _change(data_dir, change, renew=prelabel)


def rollback(
    to_base: Annotated[
        bool, typer.Option("--to-base", help="Serve the base model itself, without any adapter.")
    ] = False,
    reason: Why = "by hand",
    prelabel: Annotated[
        bool, typer.Option("--prelabel", help="Let the backend renew the newer predictions.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Serve again what was served before the last promotion, from the next question on."""

    async def change(store: Store, client: ModelClient, base: str) -> Aliases:
        from backend.registry import rollback as do

        return await do(store, client, base, to_base=to_base, reason=reason)

    _change(data_dir, change, renew=prelabel)


def shadow(
    name: Annotated[
        str | None, typer.Argument(help="The version to try; none with --off.", metavar="NAME")
    ] = None,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of questions.")] = 0.2,
    off: Annotated[bool, typer.Option("--off", help="End it.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Let another version answer a share of the questions unseen, and report how often both agree.

    Nobody is shown its answers, and no annotator waits for them. The report shows the agreement.
    """
    if (name is None) != off:
        raise typer.BadParameter("give the NAME of a version, or --off")

    async def change(store: Store, client: ModelClient, base: str) -> Aliases:
        from backend.registry import set_shadow as do

        return await do(store, client, base, name, share)

    _change(data_dir, change, renew=False)


def _change(data_dir: Path, change: Change, *, renew: bool) -> None:
    with errors_in_one_line():
        from backend.cli.background import start_prelabel
        from backend.up.settings import find_settings

        settings = find_settings(data_dir)
        now, old = asyncio.run(_changed(settings, change))
        console = output()
        console.print(Text(f"served: {now.champion or now.base}", "bold green"), soft_wrap=True)
        console.print(Text(f"previous: {now.previous or now.base}"), soft_wrap=True)
        if now.challenger:
            words = f"challenger: {now.challenger}, asked {now.share:.0%} of the questions unseen"
            console.print(Text(words), soft_wrap=True)
        for project, tasks in sorted(old.items()):
            words = f"project {project}: {tasks} tasks have predictions of other versions"
            if renew:
                start_prelabel(
                    settings,
                    project=project,
                    include_annotated=False,
                    concurrency=4,
                    random_share=0.2,
                )
            else:
                words += f"; regiontext prelabel --project {project} renews them"
            console.print(Text(words, "yellow"), soft_wrap=True)


async def _changed(settings: Settings, change: Change) -> tuple[Aliases, dict[int, int]]:
    """Make the change and tell Label Studio; what is served now, and the tasks to be renewed by project."""
    from backend import registry
    from backend.jobs.opening import using_store
    from backend.model_client import client_of
    from backend.serving import refresh, served

    async with using_store(settings) as store, client_of(settings) as client:
        found = served(settings, store) or await refresh(settings, store, client)
        now = await change(store, client, found.base)
        with store.read() as session:
            old = registry.out_of_date(session, now.champion or now.base)
        with suppress(TimeoutError):
            await asyncio.wait_for(_tell_label_studio(settings, sorted(old)), _TELL_S)
        return now, old


async def _tell_label_studio(settings: Settings, projects: list[int]) -> None:
    from backend.errors import BackendError
    from backend.jobs.studio import Studio

    if settings.label_studio_api_key is None:
        return
    with suppress(BackendError):
        async with Studio(settings) as studio:
            for project in projects:
                await studio.refresh_backends(project)
