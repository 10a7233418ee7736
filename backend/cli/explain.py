"""`regiontext explain ID`: where it comes from, in the terminal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, errors_in_one_line, output

if TYPE_CHECKING:
    from backend.explain import Chain
    from backend.report.seen import Seen
    from backend.settings import Settings

__all__ = ["add_to", "explain"]


def add_to(app: typer.Typer, *, panel: str) -> None:
    """Add the command."""
    app.command(rich_help_panel=panel)(explain)


def explain(
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Of a region, suggestion, record, image, run or model version."
        ),
    ],
    picture: Annotated[
        bool, typer.Option(help="Draw again what the model saw; asks Label Studio for the image.")
    ] = True,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show where a text comes from: image, region, picture, question, model, suggestion, correction, run, version."""
    with errors_in_one_line():
        from backend.up.settings import find_settings

        chains, seen = asyncio.run(_found(find_settings(data_dir), id, picture=picture))
        for chain in chains:
            output().print(_tree(chain, seen.get(chain.suggestion or "")), soft_wrap=True)


async def _found(
    settings: Settings, id: str, *, picture: bool
) -> tuple[list[Chain], dict[str, Seen]]:
    from backend.explain import explain as find
    from backend.jobs.opening import using_store
    from backend.report.seen import draw_again, kept

    async with using_store(settings) as store:
        chains = await asyncio.to_thread(find, store, id)
        ids = [chain.suggestion for chain in chains if chain.suggestion]
        if picture:
            return chains, await draw_again(settings, store, ids)
        return chains, {one: seen for one in ids if (seen := kept(settings, one)) is not None}


def _tree(chain: Chain, seen: Seen | None) -> Tree:
    """One chain, each step below the one before."""
    root: Tree | None = None
    for link in chain.links:
        words = Text.assemble((link.kind, "bold"), "  ", (link.id, "cyan"))
        for line in link.lines:
            words.append(f"\n{line}")
        if link.kind == "render":
            words.append(f"\n{_picture(seen)}")
        if root is None:
            root = Tree(words)
        else:
            root.add(words)
    return root or Tree("")


def _picture(seen: Seen | None) -> str:
    if seen is None:
        return "picture: cannot be drawn (no key of Label Studio, or the image or region is gone)"
    exact = "as the model saw it, to the pixel" if seen.exact else f"not the same: {seen.why}"
    return f"picture: {seen.path} ({exact})"
