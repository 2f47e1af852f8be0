"""The commands at the root: serve the gateway, try it, and make a token for it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.errors import DatabaseUnavailableError
from app.settings import load_settings
from app.viewer import Role

gateway = typer.Typer()


@gateway.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; by default HOST, or else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; by default PORT, or else 8000.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes behind the port; by default WORKERS, or else 1.")
    ] = None,
) -> None:
    """Serve the gateway over the four databases that the environment names."""
    from app import serving
    from app.workers import serve_from_several

    given = {"host": host, "port": port, "workers": workers}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    with serving.listen(settings.host, settings.port) as listener:
        if settings.workers > 1:
            serve_from_several(settings, listener)
        else:
            serving.serve(settings, listener)


@gateway.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port to serve on; by default PORT, or else 8000.")] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the data are kept; by default STOREGRAPH_DATA, or else the user's folder."),
    ] = None,
    scale: Annotated[
        float, typer.Option(min=0.0001, help="How much data to make when there are none: 1 is 10,000 orders.")
    ] = 1,
    reset: Annotated[bool, typer.Option("--reset", help="Throw the demo's data away and make them anew.")] = False,
) -> None:
    """Try it: a PostgreSQL server of its own, four databases full of made-up data, and GraphiQL."""
    from app.demo import demo

    demo(port=port, data_dir=data_dir, scale=scale, reset=reset)


@gateway.command()
def token(
    email: Annotated[str | None, typer.Option(help="Of the user with this address.")] = None,
    role: Annotated[Role | None, typer.Option(help="Of the oldest active user with this role.")] = None,
) -> None:
    """Print an access token alone, to try things with. It needs the JWT_SECRET of the server that is to accept it.

    curl -H "Authorization: Bearer $(storegraph token --role admin)" …
    """
    from app.identity.development import access_token
    from app.operations.connect import connected

    settings = load_settings()

    async def run() -> str:
        try:
            return await access_token(settings, email=email, role=role)
        except DatabaseUnavailableError:
            async with connected("users", settings.users_database_url):  # whose error says why
                raise

    print(asyncio.run(run()))
