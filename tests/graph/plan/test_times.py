"""Times that a plan reads as text are written as Python would write them."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.database import Databases
from app.graph.plan.leaves import time_text
from app.settings import Settings
from tests.graph.plan import small_shop
from tests.graph.plan.executors import Executors

times = st.datetimes(timezones=st.just(UTC))


@given(times)
def test_a_text_of_postgres_becomes_the_time_that_it_names(time: datetime) -> None:
    text = time.isoformat(" ").removesuffix("+00:00")
    trimmed = text.rstrip("0").rstrip(".") if "." in text else text
    assert time_text(f"{trimmed}+00") == json.dumps(time.isoformat())


@pytest.mark.anyio
async def test_postgres_writes_times_so(settings: Settings) -> None:
    moments = ["0001-01-01", "2026-01-31 23:59:59.5", "2026-01-31 23:59:59.000001", "9999-12-31 23:59:59.999999"]
    async with Databases.opened(settings) as databases:
        rows = await databases["orders"].fetch(
            "SELECT t, CAST(t AS text) AS text FROM unnest(CAST(CAST($1 AS text[]) AS timestamptz[])) AS t", moments
        )
    assert [time_text(row["text"]) for row in rows] == [json.dumps(row["t"].isoformat()) for row in rows]
    assert len(rows) == len(moments)


@pytest.mark.parametrize("text", ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "2026-01-31 23:59:59+01", ""])
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        time_text(text)


def test_a_time_without_end_costs_its_own_field(executors: Executors) -> None:
    change = "UPDATE products SET created_at = '{}' WHERE id = '{}'"
    forth, back = change.format("infinity", small_shop.ASSAM), change.format("2026-01-01", small_shop.ASSAM)
    with executors.changed("products", forth, back):
        told = executors.run('{ product(sku: "tea-1") { name } products { nodes { createdAt } } }')
    assert [error["extensions"]["code"] for error in told.errors] == ["INTERNAL"]
    assert told.data == {"product": {"name": "Assam"}, "products": None}
