"""``storegraph graphiql``: the files of the page at /graphql, for browsers that reach no CDN."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import Json, progress

graphiql = typer.Typer(no_args_is_help=True, help="The page at /graphql, for browsers that reach no CDN.")


@graphiql.command()
def install(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", envvar="GRAPHIQL_DIR", help="Where to; by default inside of the installed package."),
    ] = None,
    archives: Annotated[
        Path | None,
        typer.Option("--from", exists=True, file_okay=False, help="A folder with npm's .tgz files; npm by default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Install GraphiQL's files, so that the gateway serves them itself.

    npm fetches them from the registry that it is set up for. Each package and each file is held against the hashes in
    graphiql.lock.json. What is there already, unchanged, is not fetched again.
    """
    from app.graph.graphiql import FOLDER
    from app.graph.graphiql_install import install

    target = (folder or FOLDER).expanduser().absolute()
    with progress.status("Fetching GraphiQL"):
        done = install(target, archives)
    if as_json:
        print(json.dumps({"folder": str(target), "installed": done}))
    else:
        print(f"{', '.join(done) if done else 'all of it was there already'}: {target}")
