"""What the topics about tables and indexes share: partitions under their parents, and sizes that wait for no lock."""

# The functions that tell a size wait for whoever has locked the relation, or waits to lock it, for itself alone: just
# when something is wrong there, nothing would be seen. What a table's size covers are its indexes and TOAST as well.
LOCKED = """
exclusive AS MATERIALIZED (
    SELECT relation FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE mode = 'AccessExclusiveLock' AND datname = current_database() AND relation IS NOT NULL
),
locked AS MATERIALIZED (
    SELECT relation FROM exclusive
    UNION SELECT indrelid FROM pg_index JOIN exclusive ON indexrelid = relation
    UNION SELECT oid FROM pg_class JOIN exclusive ON reltoastrelid = relation
)
"""

COUNTED = "schemaname !~ '^pg_temp_'"
"""What of pg_stat_user_tables and the like does not go with the session that made it."""


def ours(relation: str) -> str:
    """What of pg_class, by whatever alias, is neither the server's own nor temporary, as a condition in SQL."""
    catalogs = "ARRAY['pg_catalog', 'information_schema', 'pg_toast']::regnamespace[]"
    return f"{relation}.relnamespace <> ALL({catalogs}) AND {relation}.relpersistence <> 't'"
