"""`regiontext serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, errors_in_one_line

__all__ = ["serve"]


def serve(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (REGIONTEXT_HOST; 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on (REGIONTEXT_PORT; 9090).", min=1, max=65535),
    ] = None,
) -> None:
    """Run only the backend, for a Label Studio and a model server that run elsewhere.

    Where they are is told by REGIONTEXT_LABEL_STUDIO_URL, REGIONTEXT_LABEL_STUDIO_API_KEY and
    REGIONTEXT_MODEL_URL (or a .env file). Then run [bold]regiontext connect[/bold].
    """
    with errors_in_one_line():
        from backend.app import serve as run
        from backend.up.ports import check_free
        from backend.up.settings import find_settings, keep_credentials, read_settings

        if read_settings().webhook_secret is None:
            keep_credentials(data_dir)
        settings = find_settings(data_dir, host=host, port=port)
        check_free(settings.host, settings.port, service="backend", option="--port")
        run(settings)
