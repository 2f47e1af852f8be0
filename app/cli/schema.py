"""``storegraph schema``: the GraphQL schema."""

import typer

schema = typer.Typer(no_args_is_help=True, help="The GraphQL schema.")


@schema.command("export")
def export_schema() -> None:
    """Print the GraphQL schema, for client generators and for app/graph/schema.graphql."""
    from app.graph.schema import build_schema

    print(build_schema().as_str())
