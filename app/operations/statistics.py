"""The sales statistics of products: the materialized view ``product_stats`` of the orders database."""

from datetime import datetime

from app.operations.connect import Connection


async def refresh(connection: Connection) -> datetime:
    """Bring ``product_stats`` up to date and return the time for which it is right, which is kept beside it.

    Readers go on meanwhile and see the old figures; two refreshes at the same time wait for each other. Runs in the
    caller's transaction if there is one, and then counts what that has written.
    """
    async with connection.transaction():
        refreshed_at: datetime = await connection.fetchval(
            # Taken before the view is read: nothing written earlier is missing from it. Not CURRENT_TIMESTAMP, which is
            # when a long import began.
            "INSERT INTO product_stats_refresh (refreshed_at) VALUES (clock_timestamp()) "
            "ON CONFLICT (singleton) DO UPDATE SET refreshed_at = EXCLUDED.refreshed_at RETURNING refreshed_at"
        )
        await connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY product_stats")
        await connection.execute("ANALYZE product_stats")
    return refreshed_at
