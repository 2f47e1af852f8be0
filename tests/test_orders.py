"""What the schema says of an order, whether an index serves it, is what PostgreSQL does."""

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import product
from uuid import UUID, uuid4

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType
from strawberry.types.field import StrawberryField

from app.graph.declarations import Connection, declared
from app.graph.schema import build_schema
from app.operations.connect import connected
from app.paging import AnyColumn, Bound, Sort, ordered_by
from app.reads import Read, narrowed
from app.settings import Settings
from app.statements import Slice, statement
from tests.factories import TODAY
from tests.plans import PlanNode

pytestmark = pytest.mark.anyio
CORE = build_schema()._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through


def cases() -> Iterator[tuple[str, Read, AnyColumn, bool]]:
    """Every field that a list of the root can be ordered by, and whether its description speaks of an index."""
    root = CORE.query_type
    assert isinstance(root, GraphQLObjectType)
    for name, field in root.fields.items():
        definition = field.extensions.get("strawberry-definition")
        declaration = declared(definition) if isinstance(definition, StrawberryField) else None
        if not isinstance(declaration, Connection):
            continue
        assert isinstance(declaration.read, Read)
        order_by = CORE.type_map[str(field.args["orderBy"].type).strip("[]!")]
        assert isinstance(order_by, GraphQLInputObjectType)
        for by, sort in order_by.fields.items():
            column = sort.extensions["strawberry-definition"].metadata["sorts"]
            said = sort.description or ""
            assert ("no index serves it" in said) != (": an index serves it" in said)
            yield f"{name} by {by}", declaration.read, column, "no index" not in said


CASES = list(cases())


def nodes(plan: PlanNode) -> Iterator[PlanNode]:
    """A plan's node and those below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


VALUES: dict[type, object] = {UUID: uuid4(), Decimal: Decimal(1), datetime: TODAY, int: 1}
"""A value of each type; of all others a text."""


@pytest.mark.parametrize(("read", "column", "indexed"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_an_order_is_sorted_only_where_the_schema_says_so(
    settings: Settings, read: Read, column: AnyColumn, indexed: bool
) -> None:
    """With sorting priced away, and all that could spare it but an index, PostgreSQL sorts where it must. (An order of
    times over partitions takes them one after the other, and any other merges what their indexes give.)

    Where it need not, the index goes to the cursor's place at once: no row before it is read.
    """
    async with connected(read.database, settings.database_url(read.database)) as connection:
        for name in ("sort", "seqscan", "bitmapscan", "incremental_sort"):
            await connection.execute(f"SET enable_{name} = off")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        for descending, from_end, behind in product((True, False), repeat=3):
            order = ordered_by([Sort(column, descending)], read.order)
            after = Bound("after", (False,) * len(order)) if behind else None
            page = narrowed(read, None, order, by_key=True)
            text = statement(page, (column,), Slice(21, after, from_end=from_end))
            assert "OFFSET" not in text.sql.upper()
            values = (
                {after.parameter(sort): VALUES.get(sort.column.type.python_type, "a") for sort in order}
                if after
                else {}
            )
            explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {text.sql}", *text.arguments(values))
            plan = list(nodes(json.loads(explained)[0]["Plan"]))
            assert any(node["Node Type"] == "Sort" for node in plan) != indexed, plan
            if indexed and behind:
                scans = [node for node in plan if "Relation Name" in node]
                assert scans
                assert all("Index Cond" in node for node in scans), plan
