"""What the schema says of an order, whether an index serves it, is what PostgreSQL does."""

from collections.abc import Iterator

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType
from strawberry.types.field import StrawberryField

from app.graph.declarations import Connection, declared
from app.graph.schema import build_schema
from app.operations.connect import connected
from app.paging import AnyColumn, Bound, Sort, ordered_by
from app.reads import Read, Slice, narrowed, statement
from app.settings import Settings

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


@pytest.mark.parametrize(("read", "column", "indexed"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_an_order_is_sorted_only_where_the_schema_says_so(
    settings: Settings, read: Read, column: AnyColumn, indexed: bool
) -> None:
    """With sorting priced away, and all that could spare it but an index, PostgreSQL sorts where it must."""
    async with connected(read.database, settings.database_url(read.database)) as connection:
        for name in ("sort", "seqscan", "bitmapscan", "incremental_sort"):
            await connection.execute(f"SET enable_{name} = off")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        for descending in (True, False):
            order = ordered_by([Sort(column, descending)], read.order)
            page = narrowed(read, None, order, by_key=True)
            for after in (None, Bound("after", (False,) * len(order))):
                for from_end in (True, False):
                    text = statement(page, (column,), Slice(21, after, from_end=from_end))
                    assert "OFFSET" not in text.sql.upper()
                    await connection.execute(f"PREPARE page AS {text.sql}")
                    nulls = ", ".join("NULL" for _ in text.names)
                    plan = await connection.fetch(f"EXPLAIN EXECUTE page{f'({nulls})' if nulls else ''}")
                    await connection.execute("DEALLOCATE page")
                    sorts = any("Sort Key" in row[0] and "Merge Append" not in row[0] for row in plan)
                    merged = any("Merge Append" in row[0] for row in plan)
                    assert (not sorts or merged) == indexed, "\n".join(row[0] for row in plan)
