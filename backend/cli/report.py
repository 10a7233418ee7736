"""`regiontext report`: the report as one HTML file."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, errors_in_one_line, output

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = ["add_to", "report"]


def add_to(app: typer.Typer, *, panel: str) -> None:
    """Add the command."""
    app.command(rich_help_panel=panel)(report)


def report(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write.", dir_okay=False)
    ] = Path("regiontext-report.html"),
    pictures: Annotated[
        bool, typer.Option(help="Ask Label Studio for the images of the gallery.")
    ] = True,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write how well the suggestions fare and the model learns, as one HTML file with nothing outside it.

    The running backend shows the same under /report.
    """
    with errors_in_one_line():
        from backend.up.settings import find_settings

        html = asyncio.run(_written(find_settings(data_dir), pictures=pictures))
        out.parent.mkdir(parents=True, exist_ok=True)
        half = out.with_name(f".{out.name}.part")
        half.write_text(html, encoding="utf-8")
        half.replace(out)
        size = out.stat().st_size / 1024
        output().print(Text(f"{out} ({size:.0f} KiB)"), soft_wrap=True)


async def _written(settings: Settings, *, pictures: bool) -> str:
    from backend.jobs.opening import using_store
    from backend.report.figures import Example, figures
    from backend.report.page import page
    from backend.report.seen import draw_again, kept

    async with using_store(settings) as store:
        found = await asyncio.to_thread(figures, settings, store)
        if pictures:
            await draw_again(settings, store, [one.suggestion for one in found.examples])

    def src(one: Example) -> str | None:
        seen = kept(settings, one.suggestion)
        if seen is None:
            return None
        code = base64.b64encode(seen.path.read_bytes()).decode("ascii")
        return f"data:image/png;base64,{code}"

    return page(found, _jobs(settings), src)


def _jobs(settings: Settings) -> list[dict[str, Any]]:
    """The jobs of the running backend; none if it does not run."""
    import httpx

    auth = None
    if settings.basic_auth_user and settings.basic_auth_password:
        auth = (settings.basic_auth_user, settings.basic_auth_password.get_secret_value())
    try:
        answer = httpx.get(f"{settings.reachable_url}/jobs", auth=auth, timeout=5)
        return list(answer.json()["jobs"]) if answer.status_code == 200 else []
    except (httpx.HTTPError, ValueError, KeyError):
        return []
