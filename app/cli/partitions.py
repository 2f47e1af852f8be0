"""``storegraph partitions``: the quarterly partitions of orders and order_items."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.output import Json
from app.settings import load_settings

partitions = typer.Typer(no_args_is_help=True, help="The partitions of orders, one a quarter of a year.")


@partitions.command("ensure")
def ensure_partitions(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="By default the first day of this year.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="By default the last day of next year.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the quarterly partitions that orders and order_items lack, from one day to another, both included."""
    from app.operations.connect import connected
    from app.operations.partitions import ensure, this_year_and_next

    start, end = this_year_and_next(datetime.now(UTC).date())

    async def run() -> list[str]:
        async with connected("orders", load_settings().orders_database_url) as connection:
            return await ensure(connection, first.date() if first else start, last.date() if last else end)

    made = asyncio.run(run())
    print(json.dumps(made) if as_json else "\n".join(made) or "every partition is there already")
