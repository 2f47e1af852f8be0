"""The five queries, as clients send them, and the ids that they are asked with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.operations.connect import connected
from app.settings import DatabaseName, Settings

NUMBER_OF_IDS = 400
# Any that there are, but the same ones for the same rows. Accounts are those whose page of orders is full.
_IDS: Mapping[str, tuple[DatabaseName, str]] = {
    "order": ("orders", "SELECT CAST(id AS text) AS id FROM orders ORDER BY md5(CAST(id AS text)) LIMIT $1"),
    "account": (
        "orders",
        "SELECT CAST(user_id AS text) AS id FROM orders GROUP BY user_id HAVING count(*) >= 20"
        " ORDER BY md5(CAST(user_id AS text)) LIMIT $1",
    ),
}
_NAMES = ("order", "account", "backoffice", "tree", "list")


@dataclass(frozen=True)
class Work:
    """A query, and what it is asked about."""

    name: str
    document: str
    ids: tuple[str, ...]
    """The values of its variable ``id``, in turns. One that has no variables has one, empty, which stands for none."""


async def load_works(settings: Settings) -> list[Work]:
    """The five queries, with ids of what is in the databases.

    Raises:
        SystemExit: there is nothing to ask about.
    """
    works: list[Work] = []
    for name in _NAMES:
        ids: tuple[str, ...] = ("",)
        if name in _IDS:
            database, sql = _IDS[name]
            async with connected(database, settings.database_url(database)) as connection:
                ids = tuple([row["id"] for row in await connection.fetch(sql, NUMBER_OF_IDS)])
        if not ids:
            raise SystemExit(f"the databases have nothing to ask the query {name} about; seed more orders")
        works.append(Work(name, Path(__file__).with_name(f"{name}.graphql").read_text(encoding="utf-8"), ids))
    return works
