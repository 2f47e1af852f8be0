"""What PostgreSQL does for a statement, made as the pools make it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from app.operations.connect import connected
from app.reads import Columns, Read
from app.settings import Settings
from app.statements import Slice, statement

PlanNode = dict[str, Any]


async def executed(
    settings: Settings, read: Read, columns: Columns, values: Mapping[str, object], slice_: Slice | None = None
) -> list[PlanNode]:
    """The nodes of a read's generic plan that were run, as EXPLAIN (ANALYZE, FORMAT JSON) tells of them."""
    text = statement(read, columns, slice_)
    async with connected(read.database, settings.database_url(read.database)) as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")
        explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text.sql}", *text.arguments(values))
    return list(_run(json.loads(explained)[0]["Plan"]))


def _run(node: PlanNode) -> Iterator[PlanNode]:
    if node["Actual Loops"]:
        yield node
    for child in node.get("Plans", []):
        yield from _run(child)
