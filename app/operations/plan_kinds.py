"""Which table-level lock each kind of statement takes, and what it does while it holds it.

From PostgreSQL's manual: 13.3.1 "Table-Level Locks" has the modes and what each conflicts with, and each command's page
says which mode it takes. What is not in these tables is taken for the worst. The patterns are for ``plan_sql.plain``.
"""

from dataclasses import dataclass
from enum import IntEnum

from app.operations.plan_sql import NAME


class Mode(IntEnum):
    """The modes, from the weakest on."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    def __str__(self) -> str:
        return self.name.replace("_", " ")

    @property
    def blocks(self) -> str:
        """What of the traffic waits for it: reads take ACCESS SHARE, writes ROW EXCLUSIVE. Empty when neither does."""
        if self is Mode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        return "writes" if self >= Mode.SHARE else ""


@dataclass(frozen=True)
class Kind:
    """A kind of statement, or of action of ALTER TABLE.

    Args:
        pattern: what it looks like from its start on. The groups ``table`` and ``other`` are tables, ``index`` is one.
        mode: the lock that it takes on ``table``; None for no table's.
        work: what it does that takes the longer the more rows there are, before the table's name; empty for nothing.
        rule: what it is called where that is dangerous, or where it ``breaks`` something.
        advice: how to do it instead.
        other: the lock that it takes on ``other``.
        breaks: what goes wrong with it, however quick it is.
    """

    pattern: str
    mode: Mode | None
    work: str = ""
    rule: str = ""
    advice: str = ""
    other: Mode | None = None
    breaks: str = ""


_T = rf"(?P<table>{NAME})"
_OTHER = rf"(?P<other>{NAME})"
_INDEX = rf"(?P<index>{NAME})"
_READS, _BUILDS, _REWRITES = "reads all of", "builds an index over", "rewrites"

_SUE, _SRE, _AE = Mode.SHARE_UPDATE_EXCLUSIVE, Mode.SHARE_ROW_EXCLUSIVE, Mode.ACCESS_EXCLUSIVE
_ALONE = "in an autocommit_block, in a migration of its own"
_NOT_VALID = "add it NOT VALID, and VALIDATE it in the next migration"
_RELEASE = "do it a release after the last version that uses it"
_NEW_COLUMN = "add another column, fill it in batches, and change over a release later"

STATEMENTS: tuple[Kind, ...] = (
    Kind(rf"CREATE (UNIQUE )?INDEX CONCURRENTLY .*?\bON (ONLY )?{_T}", _SUE, _BUILDS),
    Kind(rf"CREATE (UNIQUE )?INDEX .*?\bON ONLY {_T}", Mode.SHARE),  # of no partition
    Kind(
        rf"CREATE (UNIQUE )?INDEX .*?\bON {_T}",
        Mode.SHARE,
        _BUILDS,
        "create-index",
        f"build it CONCURRENTLY, {_ALONE}",
    ),
    Kind(rf"DROP INDEX CONCURRENTLY (IF EXISTS )?{_INDEX}", _SUE),
    Kind(rf"DROP INDEX (IF EXISTS )?{_INDEX}", _AE),
    Kind(rf"REINDEX (\( .*? \) )?(TABLE|INDEX) CONCURRENTLY ({_T})", _SUE, _BUILDS),
    Kind(rf"REINDEX (\( .*? \) )?TABLE {_T}", _AE, _BUILDS, "reindex", f"do it CONCURRENTLY, {_ALONE}"),
    Kind(rf"REINDEX (\( .*? \) )?INDEX {_INDEX}", _AE, _BUILDS, "reindex", f"do it CONCURRENTLY, {_ALONE}"),
    Kind(r"ALTER INDEX .* RENAME ", None),  # the index alone, SHARE UPDATE EXCLUSIVE
    Kind(rf"ALTER INDEX (IF EXISTS )?{_INDEX} ", _AE),
    Kind(rf"TRUNCATE (TABLE )?(ONLY )?{_T}", _AE, rule="truncate", breaks="throws away all rows of"),
    Kind(rf"CREATE (OR REPLACE )?(CONSTRAINT )?TRIGGER .*? ON {_T}", _SRE),
    Kind(rf"(ALTER|DROP) TRIGGER .*? ON {_T}", _AE),
    Kind(rf"(CREATE|ALTER|DROP) POLICY .*? ON {_T}", _AE),
    Kind(rf"CREATE (OR REPLACE )?RULE .*? TO {_T}", _AE),
    Kind(rf"DROP RULE .*? ON {_T}", _AE),
    Kind(rf"CREATE OR REPLACE (RECURSIVE )?VIEW {_T}", _AE),
    Kind(rf"REFRESH MATERIALIZED VIEW CONCURRENTLY {_T}", Mode.EXCLUSIVE),  # nobody writes to one
    Kind(rf"REFRESH MATERIALIZED VIEW {_T}", _AE, _REWRITES, "refresh", "refresh it CONCURRENTLY"),
    Kind(
        rf"DROP (MATERIALIZED )?VIEW (IF EXISTS )?{_T}",
        _AE,
        rule="drop-view",
        breaks="breaks what uses",
        advice=_RELEASE,
    ),
    Kind(rf"ALTER (MATERIALIZED )?VIEW (IF EXISTS )?{_T}", _AE),
    Kind(rf"INSERT INTO {_T}", Mode.ROW_EXCLUSIVE, "writes to"),
    Kind(rf"MERGE INTO (ONLY )?{_T}", Mode.ROW_EXCLUSIVE, "writes to"),
    Kind(rf"(UPDATE|DELETE FROM) (ONLY )?{_T} .*\bWHERE\b", Mode.ROW_EXCLUSIVE, "writes to"),
    Kind(
        rf"(UPDATE|DELETE FROM) (ONLY )?{_T}",
        Mode.ROW_EXCLUSIVE,
        "writes to",
        "every-row",
        "do it in batches, beside the migrations",
        breaks="locks until the migration's end every row of",
    ),
    Kind(r"(SELECT|VALUES|TABLE|WITH)\b(?!.*\b(INSERT INTO|UPDATE|DELETE FROM|MERGE INTO)\b)", None, "reads"),
    Kind(rf"VACUUM (\( .*\bFULL\b.*? \) |FULL ).*?{_T}$", _AE, _REWRITES, "rewrite", "use pg_repack or leave it"),
    Kind(rf"CLUSTER (\( .*? \) )?(VERBOSE )?{_T}", _AE, _REWRITES, "rewrite", "use pg_repack or leave it"),
    Kind(rf"(VACUUM|ANALYZE) (\( .*? \) )?(VERBOSE )?(ANALYZE )?{_T}", _SUE, _READS),
    Kind(rf"COMMENT ON TABLE {_T}", _SUE),
    Kind(rf"COMMENT ON COLUMN {_T}\.", _SUE),
    Kind(rf"CREATE STATISTICS .*\bFROM {_T}", _SUE),
    Kind(r"ALTER TYPE \S+ (ADD VALUE|RENAME VALUE|RENAME TO|OWNER TO|SET SCHEMA)\b", None),
    Kind(
        r"(CREATE (OR REPLACE )?|ALTER |DROP (?!.*\bCASCADE\b))(FUNCTION|PROCEDURE|ROUTINE|AGGREGATE|SEQUENCE|SCHEMA"
        r"|ROLE|COLLATION|OPERATOR|TEXT SEARCH|STATISTICS|PUBLICATION|DEFAULT PRIVILEGES|EVENT TRIGGER)\b",
        None,
    ),
    Kind(r"(CREATE|DROP (?!.*\bCASCADE\b))(TYPE|DOMAIN|CAST)\b", None),
    Kind(r"CREATE (TYPE|DOMAIN|CAST|EXTENSION)\b", None),
    Kind(r"(SET|RESET|SHOW|GRANT|REVOKE|COMMENT ON|NOTIFY|ALTER DATABASE)\b", None),
)
"""All but CREATE TABLE, DROP TABLE, ALTER TABLE and LOCK, which name several tables or modes."""

_CONSTRAINT = rf"ADD (CONSTRAINT {NAME} )?"

ACTIONS: tuple[Kind, ...] = (
    Kind(rf"{_CONSTRAINT}FOREIGN KEY .*\bREFERENCES {_OTHER}.* NOT VALID", _SRE, other=_SRE),
    Kind(rf"{_CONSTRAINT}FOREIGN KEY .*\bREFERENCES {_OTHER}", _SRE, _READS, "add-foreign-key", _NOT_VALID, other=_SRE),
    Kind(rf"{_CONSTRAINT}(CHECK|NOT NULL) .* NOT VALID", _AE),
    Kind(rf"{_CONSTRAINT}(CHECK|NOT NULL) ", _AE, _READS, "add-check", _NOT_VALID),
    Kind(rf"{_CONSTRAINT}(UNIQUE|PRIMARY KEY) USING INDEX ", _AE),
    Kind(
        rf"{_CONSTRAINT}(UNIQUE|PRIMARY KEY)\b",
        _AE,
        _BUILDS,
        "add-unique",
        "build a UNIQUE INDEX CONCURRENTLY, and add the constraint USING INDEX in the next migration",
    ),
    Kind(
        rf"{_CONSTRAINT}EXCLUDE\b", _AE, _BUILDS, "add-exclude", "there is no other way: make the table anew beside it"
    ),
    Kind(r"VALIDATE CONSTRAINT ", _SUE, _READS),
    Kind(r"DROP CONSTRAINT ", _AE),
    Kind(
        r"DROP (COLUMN )?(IF EXISTS )?", _AE, rule="drop-column", breaks="breaks what uses a column of", advice=_RELEASE
    ),
    Kind(
        r"ALTER (COLUMN )?\S+ SET NOT NULL",
        _AE,
        _READS,
        "set-not-null",
        "add CHECK (… IS NOT NULL) NOT VALID, VALIDATE it in the next migration, SET NOT NULL, and drop the CHECK",
    ),
    Kind(r"ALTER (COLUMN )?\S+ (SET DATA )?TYPE ", _AE, _REWRITES, "alter-type", _NEW_COLUMN),
    Kind(r"ALTER (COLUMN )?\S+ SET EXPRESSION ", _AE, _REWRITES, "alter-type", _NEW_COLUMN),
    Kind(r"ALTER (COLUMN )?\S+ SET STATISTICS ", _SUE),
    Kind(r"ALTER (COLUMN )?\S+ (SET|RESET) \(", _SUE),
    Kind(r"ALTER (COLUMN )?\S+ (SET|DROP|RESTART|ADD GENERATED)\b", _AE),
    Kind(r"ALTER CONSTRAINT ", _AE),
    Kind(r"RENAME CONSTRAINT ", _AE),
    Kind(r"RENAME ", _AE, rule="rename", breaks="breaks what uses a name of", advice=_RELEASE),
    Kind(rf"ATTACH PARTITION {_OTHER}", _SUE, other=_AE),
    Kind(rf"DETACH PARTITION {_OTHER} (CONCURRENTLY|FINALIZE)", _SUE, other=_AE),
    Kind(rf"DETACH PARTITION {_OTHER}", _AE, other=_AE),
    Kind(r"(ENABLE|DISABLE) (REPLICA |ALWAYS )?TRIGGER ", _SRE),
    Kind(r"(ENABLE|DISABLE|FORCE|NO FORCE) ", _AE),
    Kind(r"(CLUSTER ON|SET WITHOUT CLUSTER)\b", _SUE),
    Kind(r"(SET|RESET) \(", _SUE),
    Kind(
        r"SET (LOGGED|UNLOGGED|TABLESPACE|ACCESS METHOD)\b", _AE, _REWRITES, "rewrite", "make the table anew beside it"
    ),
    Kind(r"SET SCHEMA ", _AE, rule="rename", breaks="breaks what uses", advice=_RELEASE),
    Kind(r"(OWNER TO|REPLICA IDENTITY|INHERIT|NO INHERIT|OF|NOT OF)\b", _AE),
)
"""The actions of ALTER TABLE, but for ADD COLUMN, whose lock is one and whose work depends on the column."""

UNKNOWN = Kind("", Mode.ACCESS_EXCLUSIVE, rule="unknown")
ADD_COLUMN = Kind("", Mode.ACCESS_EXCLUSIVE)
ADD_COLUMN_REWRITES = Kind(
    "", Mode.ACCESS_EXCLUSIVE, _REWRITES, "add-column", "add it without a value, and fill it in batches"
)
ADD_COLUMN_READS = Kind(
    "", Mode.ACCESS_EXCLUSIVE, _READS, "add-column", f"add it without the constraint; then {_NOT_VALID}"
)
ADD_COLUMN_BUILDS = Kind(
    "", Mode.ACCESS_EXCLUSIVE, _BUILDS, "add-column", "add it alone, and build a UNIQUE INDEX CONCURRENTLY"
)
ADD_COLUMN_FAILS = Kind(
    "",
    Mode.ACCESS_EXCLUSIVE,
    rule="add-column",
    breaks="fails if there are any rows in",
    advice="give it a DEFAULT, or let it be NULL until it is filled",
)
DROP_TABLE = Kind("", Mode.ACCESS_EXCLUSIVE, rule="drop-table", breaks="breaks what uses", advice=_RELEASE)
ATTACH_READS = Kind(
    "", Mode.ACCESS_EXCLUSIVE, _READS, "attach", "add a CHECK of the bounds NOT VALID to it before, and VALIDATE that"
)
