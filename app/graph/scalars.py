"""The scalars of the API. Rows hold uuids and decimals as the text that PostgreSQL wrote, which is the API's as well.

None of them is an argument so far; the filters that take them bring their parsing along.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

UUID = NewType("UUID", str)
Decimal = NewType("Decimal", str)
DateTime = NewType("DateTime", datetime)

SCALARS: Mapping[object, ScalarDefinition] = {
    UUID: strawberry.scalar(
        name="UUID",
        description="A key of the database, in the usual 36 characters in lower case.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description="An exact amount with two decimals, as a string: never a float.",
        specified_by_url="https://scalars.graphql.org/chillicream/decimal.html",
        serialize=str,
    ),
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A time in ISO 8601 with its offset from UTC, exact to the microsecond.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=datetime.isoformat,
    ),
}
"""For the schema's ``scalar_map``."""
