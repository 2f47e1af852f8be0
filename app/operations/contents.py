"""What fills the databases: their tables, in the order in which rows can be added."""

from sqlalchemy import Table

from app.domains.orders.tables import ProductStatsRefresh
from app.domains.products.tables import PRODUCT_WORDS
from app.domains.users.tables import LoginFailure, RefreshToken
from app.operations.migrations import METADATA
from app.settings import DatabaseName

_KEPT_BY_THE_DATABASE = {ProductStatsRefresh.__tablename__, PRODUCT_WORDS.name}
_OF_SESSIONS = {RefreshToken.__tablename__, LoginFailure.__tablename__}

Summary = dict[DatabaseName, dict[str, int]]
"""How many rows were added, by database and table."""


def tables_of(name: DatabaseName) -> list[Table]:
    """The tables of a database that hold a shop's data, each after those that it refers to."""
    return [table for table in METADATA[name].sorted_tables if table.name not in _KEPT_BY_THE_DATABASE | _OF_SESSIONS]
