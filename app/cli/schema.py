"""``storegraph schema``: the GraphQL schema, printed, compared and described. None of it asks a database."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from app.cli.output import Json, output
from app.errors import OperationError

if TYPE_CHECKING:
    from graphql import GraphQLSchema

    from app.graph.schema_changes import Change
    from app.graph.schema_operations import Broken

schema = typer.Typer(no_args_is_help=True, help="The GraphQL schema.")

THIS = "this"
_A_SCHEMA = "a file of definitions or of introspection's JSON; - is standard input"
_EXTENSIONS = (".graphql", ".gql")
MADE = "<!-- Made by `storegraph schema docs`: change the descriptions in the code, and make it anew. -->\n\n"
"""How a page begins that ``schema docs`` has made."""


@schema.command("export")
def export_schema(
    of: Annotated[
        Literal["sdl", "json"], typer.Option("--format", help="Definitions, or introspection's answer as JSON.")
    ] = "sdl",
) -> None:
    """Print the GraphQL schema, sorted, for client generators and for app/graph/schema.graphql.

    The JSON is {"__schema": …}, as graphql-js writes it and every client generator takes it.
    """
    from app.graph.schema_text import gateway_introspection, gateway_sdl

    print(gateway_sdl() if of == "sdl" else gateway_introspection(), end="")


@schema.command("check")
def check_schema(
    file: Annotated[str, typer.Argument(help=f"A schema: {_A_SCHEMA}.")],
    as_json: Json = False,
) -> None:
    """Say whether a schema is this gateway's; exit code 1, and how they differ, where it is not.

    Order, blank lines, comments and the specification's own directives make no difference; descriptions do.
    """
    from app.graph.schema_text import difference

    name = _name_of(file)
    found = difference(_schema_of(file), _schema_of(THIS), name, "the schema of this gateway")
    if as_json:
        print(json.dumps({"differs": bool(found), "diff": found}))
    elif found:
        _print_difference(found)
        print(f"\n{name} is not the schema of this gateway. What that means for clients: schema diff {file} this")
    else:
        print(f"{name} is the schema of this gateway")
    if found:
        raise typer.Exit(1)


@schema.command("diff")
def diff_schemas(
    old: Annotated[str, typer.Argument(help=f"The schema that clients know: {_A_SCHEMA}; this is the gateway's own.")],
    new: Annotated[str, typer.Argument(help="The schema that they are to meet, named likewise.")] = THIS,
    operations: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Name those that break, of all below DIR."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what breaks clients, what may surprise them and what is safe; exit code 1 where anything breaks.

    git show main:app/graph/schema.graphql | storegraph schema diff - this --operations web/src

    --operations takes every .graphql and .gql file, whichever of them a fragment is in. A file named this is ./this.
    """
    from app.graph.schema_changes import find_changes
    from app.graph.schema_operations import Operations, find_broken

    if old == new == "-":
        raise OperationError("standard input can be one of the two schemas, not both")
    before, after = map(_schema_of, (old, new))
    changes = find_changes(before, after)
    client = None if operations is None else Operations(_texts_below(operations))
    broken = [] if client is None else find_broken(client, before, after)
    if as_json:
        print(json.dumps(_as_json(changes, broken, client and client.count)))
    else:
        _print_changes(changes)
        if client is not None:
            _print_broken(broken, client.count)
    if any(change.severity == "breaking" for change in changes) or any(of.effect != "refused before" for of in broken):
        raise typer.Exit(1)


@schema.command("docs")
def write_docs(
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="The pages are DIR/schema/*.md.")] = Path(
        "docs"
    ),
) -> None:
    """Write pages that describe the schema and the four databases, and remove those of types that are gone.

    DIR/schema/README.md is the one to begin with, DIR/schema/databases.md has the diagram.
    """
    pages = made_pages()
    folder = out / "schema"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.md"):
            if path.name not in pages and path.read_bytes().startswith(MADE.encode()):
                path.unlink()
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OperationError(f"cannot write {error.filename}: {error.strerror}") from None
    print(f"{len(pages)} pages; begin with {folder / 'README.md'}")


def made_pages() -> dict[str, str]:
    """What ``schema docs`` writes, by the name of the file."""
    from app.graph.schema_docs import SchemaPages
    from app.graph.schema_docs_parts import DATABASES_PAGE
    from app.operations.schema_databases import databases_page

    pages = {**SchemaPages().pages(), DATABASES_PAGE: databases_page()}
    return {name: MADE + text for name, text in pages.items()}


def _schema_of(argument: str) -> "GraphQLSchema":
    """The schema that an argument names."""
    from app.graph.schema_text import gateway_sdl, read_schema

    name = _name_of(argument)
    if argument == THIS:
        text = gateway_sdl()
    else:
        text = _decoded(sys.stdin.buffer.read(), name) if argument == "-" else _read(Path(argument))
    return read_schema(text, name)


def _name_of(argument: str) -> str:
    return "standard input" if argument == "-" else argument


def _read(path: Path) -> str:
    try:
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise OperationError(f"cannot read {path}: {error.strerror}") from None


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OperationError(f"{name} is not UTF-8") from None


def _texts_below(folder: Path) -> dict[str, str]:
    """Every document below a folder, by its path from there, but for those of packages and in hidden folders."""
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in _EXTENSIONS
        and path.is_file()
        and not any(map(_is_passed_over, path.relative_to(folder).parts))
    )
    if not paths:
        raise OperationError(f"no file below {folder} ends in {' or '.join(_EXTENSIONS)}")
    return {path.relative_to(folder).as_posix(): _read(path) for path in paths}


def _is_passed_over(name: str) -> bool:
    return name == "node_modules" or name.startswith(".")


def _print_difference(found: str) -> None:
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in found.splitlines():
        output.print(Text(line, styles.get(line[:1], "")), soft_wrap=True)


def _print_changes(changes: "list[Change]") -> None:
    from app.graph.schema_changes import SEVERITIES

    for severity, style in zip(SEVERITIES, ("bold red", "bold yellow", "bold green"), strict=True):
        of_this = [change for change in changes if change.severity == severity]
        if of_this:
            output.print(Text(f"{severity} ({len(of_this)})", style))
        for change in of_this:
            output.print(Text(f"  {change.description}  [{change.type}]"), soft_wrap=True)
    if not changes:
        print("nothing has changed")


def _print_broken(broken: "list[Broken]", count: int) -> None:
    breaks = {(of.file, of.operation) for of in broken if of.effect != "refused before"}
    print(f"\nof {count} operations, and fragments in none of them: {len(breaks)} to mend")
    for of in broken:
        output.print(Text(f"  {of.file}:{of.line}  {of.operation}", "bold"), soft_wrap=True)
        output.print(Text(f"      {of.effect}: {of.message}"), soft_wrap=True)


def _as_json(changes: "list[Change]", broken: "list[Broken]", count: int | None) -> dict[str, object]:
    severities = Counter(change.severity for change in changes)
    body: dict[str, object] = {"changes": [asdict(change) for change in changes], "counts": dict(severities)}
    return body if count is None else {**body, "operations": count, "broken": [asdict(of) for of in broken]}
