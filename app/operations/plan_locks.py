"""What a statement would do to the tables that are there: the locks that it takes, and whether it is dangerous.

Dangerous is what takes the longer the more rows there are while reads or writes wait for it, and what breaks those who
use the tables. Where it cannot be told, the worst is taken for true.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.operations.plan_kinds import (
    ACTIONS,
    ADD_COLUMN,
    ADD_COLUMN_BUILDS,
    ADD_COLUMN_FAILS,
    ADD_COLUMN_READS,
    ADD_COLUMN_REWRITES,
    ATTACH_READS,
    DROP_TABLE,
    STATEMENTS,
    UNKNOWN,
    Kind,
    Mode,
)
from app.operations.plan_sql import NAME, named, parts, plain


@dataclass(frozen=True)
class Relation:
    """A table or view that is there: its rows as the server estimates them, if it does, and its size in bytes."""

    rows: int | None
    size: int | None
    partitions: int


@dataclass
class Facts:
    """What a database holds that decides on locks. It goes along with the statements of a plan.

    Args:
        relations: the tables and views that are there, and so in use.
        indexes: the table of each index.
        types: the type of each column, as PostgreSQL prints it, by table and name.
        never_null: columns that a valid CHECK keeps from being NULL, by table and name.
        foreign: the table that each foreign key refers to, by table and name.
        made: what earlier statements of the plan have made: nobody uses it.
        checks: the column whose NULLs a CHECK that is yet to be validated excludes, by table and name.
    """

    relations: dict[str, Relation] = field(default_factory=dict[str, Relation])
    indexes: dict[str, str] = field(default_factory=dict[str, str])
    types: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    never_null: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    foreign: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    made: set[str] = field(default_factory=set[str])
    checks: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])


@dataclass(frozen=True)
class Danger:
    """Why a statement is dangerous, and what to do instead. Migrations accept it by its ``rule``."""

    rule: str
    message: str


@dataclass
class Effect:
    """What a statement does: the lock on each table that is in use, whether it takes long, and its dangers."""

    locks: dict[str, Mode] = field(default_factory=dict[str, Mode])
    works: bool = False
    dangers: list[Danger] = field(default_factory=list[Danger])

    @property
    def strongest(self) -> Mode | None:
        """The strongest of its locks."""
        return max(self.locks.values(), default=None)


def effect_of(sql: str, facts: Facts) -> Effect:
    """What a statement does, as things stand by then; notes in ``facts`` what it makes."""
    line = plain(sql)
    effect = Effect(works=_fills(line, facts))
    for table, kind, other in _told(line, facts):
        if other and kind.other:
            _lock(effect, facts, other, kind.other)
        if kind is UNKNOWN:
            effect.locks[table or "any table"] = Mode.ACCESS_EXCLUSIVE
            effect.works = True
            what = f"an action on {table}" if table else "a statement"
            effect.dangers.append(Danger(kind.rule, f"{what} that storegraph does not know, and takes for the worst"))
        elif table not in facts.made:
            if kind.mode and table:
                _lock(effect, facts, table, kind.mode)
            effect.works = effect.works or bool(kind.work)
            effect.dangers += _dangers(kind, table, facts)
    return effect


def _dangers(kind: Kind, table: str, facts: Facts) -> Iterator[Danger]:
    advice = kind.advice
    if kind.rule == "create-index" and table in facts.relations and facts.relations[table].partitions:
        advice = "make it ON ONLY the table, build one CONCURRENTLY for each partition, and attach those"
    if kind.work and kind.rule and kind.mode and kind.mode.blocks:
        meanwhile = f"which takes no {kind.mode.blocks} meanwhile"
        yield Danger(kind.rule, f"{kind.work} {table}, {meanwhile}: {advice}")
    elif kind.breaks:
        yield Danger(kind.rule, f"{kind.breaks} {table}" + (f": {advice}" if advice else ""))


def _fills(line: str, facts: Facts) -> bool:
    """Whether it reads tables that are in use, also where what it fills is new."""
    if not re.match(
        r"(INSERT|MERGE|CREATE .*\b(TABLE|MATERIALIZED VIEW)) .*\b(SELECT|USING|TABLE)\b", line, re.IGNORECASE
    ):
        return False
    return any(re.search(rf"\b{re.escape(name)}\b", line) for name in facts.relations)


def _lock(effect: Effect, facts: Facts, table: str, mode: Mode) -> None:
    if table not in facts.made:
        effect.locks[table] = max(mode, effect.locks.get(table, mode))


_Told = tuple[str, Kind, str | None]
"""A table, what is done to it, and the other table of that, if there is one."""


def _told(line: str, facts: Facts) -> Iterator[_Told]:
    if match := _CREATE_TABLE.match(line):
        yield from _create_table(line, named(match["table"]), facts)
    elif match := _CREATE_VIEW.match(line):
        facts.made.add(named(match["table"]))
    elif match := _ALTER_TABLE.match(line):
        for action in parts(match["actions"]):
            yield from _alter_table(action, named(match["table"]), facts)
    elif match := _DROP_TABLE.match(line):
        for name in map(named, parts(match["tables"])):
            yield name, DROP_TABLE, None
            yield from (
                (to, Kind("", Mode.ACCESS_EXCLUSIVE), None) for (of, _), to in facts.foreign.items() if of == name
            )
    elif match := _LOCK.match(line):
        mode = Mode[(match["mode"] or "ACCESS EXCLUSIVE").upper().replace(" ", "_")]
        for name in parts(match["tables"]):
            yield named(name), Kind("", mode), None
    else:
        yield _told_by(STATEMENTS, line, facts)


def _told_by(kinds: tuple[Kind, ...], line: str, facts: Facts, table: str = "") -> _Told:
    for kind in kinds:
        if match := re.match(kind.pattern, line, re.IGNORECASE):
            found = match.groupdict()
            if found.get("index"):
                index = named(found["index"])
                table = facts.indexes.get(index, f"of {index}")
            if found.get("table"):
                table = named(found["table"])
            if kind is not UNKNOWN and re.match(r"CREATE (UNIQUE )?INDEX ", line, re.IGNORECASE):
                _note_index(line, table, facts)
            return table, kind, named(found["other"]) if found.get("other") else None
    return table, UNKNOWN, None


def _note_index(line: str, table: str, facts: Facts) -> None:
    name = re.match(rf"CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?({NAME}) ON ", line, re.IGNORECASE)
    if name:
        facts.indexes[named(name[1])] = table


_CREATE_TABLE = re.compile(
    rf"CREATE (TEMP |TEMPORARY |UNLOGGED |FOREIGN )?TABLE (IF NOT EXISTS )?(?P<table>{NAME})", re.IGNORECASE
)
_CREATE_VIEW = re.compile(rf"CREATE (RECURSIVE |MATERIALIZED )?VIEW (IF NOT EXISTS )?(?P<table>{NAME})", re.IGNORECASE)
_ALTER_TABLE = re.compile(
    rf"ALTER (FOREIGN )?TABLE (IF EXISTS )?(ONLY )?(?P<table>{NAME})( \*)? (?P<actions>.*)", re.IGNORECASE
)
_DROP_TABLE = re.compile(r"DROP (FOREIGN )?TABLE (IF EXISTS )?(?P<tables>.*?)( CASCADE| RESTRICT)?$", re.IGNORECASE)
_LOCK = re.compile(r"LOCK (TABLE )?(ONLY )?(?P<tables>.*?)( IN (?P<mode>[A-Z ]+) MODE)?( NOWAIT)?$", re.IGNORECASE)
_ADD_COLUMN = re.compile(
    rf"ADD (COLUMN )?(IF NOT EXISTS )?(?!(CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN|EXCLUDE|NOT)\b){NAME} (?P<type>.*)",
    re.IGNORECASE,
)
_CHECK_NOT_NULL = re.compile(
    rf"ADD CONSTRAINT (?P<name>{NAME}) CHECK \( (?P<column>{NAME}) IS NOT NULL \)(?P<later> NOT VALID)?", re.IGNORECASE
)
_VALIDATE = re.compile(rf"VALIDATE CONSTRAINT (?P<name>{NAME})", re.IGNORECASE)
_DROP_CONSTRAINT = re.compile(rf"DROP CONSTRAINT (IF EXISTS )?(?P<name>{NAME})", re.IGNORECASE)
_COLUMN = re.compile(rf"ALTER (COLUMN )?(?P<column>{NAME}) (SET NOT NULL|(SET DATA )?TYPE (?P<type>.*))", re.IGNORECASE)


def _create_table(line: str, table: str, facts: Facts) -> Iterator[_Told]:
    if table in facts.relations and "IF NOT EXISTS" in line.upper():
        return
    facts.made.add(table)
    for pattern, mode in (
        (r"PARTITION OF", Mode.ACCESS_EXCLUSIVE),
        (r"INHERITS \(", Mode.SHARE_UPDATE_EXCLUSIVE),
        (r"\bREFERENCES", Mode.SHARE_ROW_EXCLUSIVE),
        (r"\( LIKE", Mode.ACCESS_SHARE),
    ):
        for name in re.findall(rf"{pattern} ({NAME})", line, re.IGNORECASE):
            if named(name) != table:
                yield named(name), Kind("", mode), None


def _alter_table(action: str, table: str, facts: Facts) -> Iterator[_Told]:
    if (column := _ADD_COLUMN.match(action)) and action.upper().startswith("ADD "):
        yield from ((table, kind, other) for kind, other in _add_column(column["type"]))
        return
    told = _told_by(ACTIONS, action, facts, table)
    _note_checks(action, table, facts)
    if (column := _COLUMN.match(action)) and _is_quick(table, named(column["column"]), column["type"], facts):
        yield table, Kind("", Mode.ACCESS_EXCLUSIVE), None
    elif match := _DROP_CONSTRAINT.match(action):
        to = facts.foreign.get((table, named(match["name"])))
        yield table, Kind("", Mode.ACCESS_EXCLUSIVE, other=Mode.ACCESS_EXCLUSIVE), to
    else:
        yield told
    if match := re.match(rf"RENAME TO ({NAME})", action, re.IGNORECASE):
        if table in facts.made:
            facts.made.add(named(match[1]))
        elif table in facts.relations:
            facts.relations[named(match[1])] = facts.relations[table]
    if action.upper().startswith("ATTACH PARTITION ") and told[2] and told[2] not in facts.made:
        yield told[2], ATTACH_READS, None


def _note_checks(action: str, table: str, facts: Facts) -> None:
    """Keep in mind which columns a CHECK keeps from being NULL: with one that is valid, SET NOT NULL reads nothing."""
    if match := _CHECK_NOT_NULL.match(action):
        column = named(match["column"])
        if match["later"]:
            facts.checks[table, named(match["name"])] = column
        else:
            facts.never_null.add((table, column))
    if (match := _VALIDATE.match(action)) and (table, named(match["name"])) in facts.checks:
        facts.never_null.add((table, facts.checks[table, named(match["name"])]))


def _is_quick(table: str, column: str, new: str | None, facts: Facts) -> bool:
    """Whether SET NOT NULL (``new`` is None) or a new type goes without a look at the rows."""
    if new is None:
        return (table, column) in facts.never_null
    old = facts.types.get((table, column))
    return old is not None and re.search(r"\b(USING|COLLATE)\b", new, re.IGNORECASE) is None and _widens(old, new)


_TEXT = re.compile(r"(?:character varying|varchar)(?: ?\( ?(\d+) ?\))?", re.IGNORECASE)
_NUMBER = re.compile(r"(?:numeric|decimal)(?: ?\( ?(\d+)(?: ?, ?(\d+))? ?\))?", re.IGNORECASE)


def _widens(old: str, new: str) -> bool:
    """Whether each value of a type is stored as one of another just as it is (manual: ALTER TABLE, Notes)."""
    if text := _TEXT.fullmatch(old):
        wider = _TEXT.fullmatch(new)
        if new.lower() == "text" or (wider and not wider[1]):
            return True
        return bool(wider and text[1] and int(wider[1]) >= int(text[1]))
    if number := _NUMBER.fullmatch(old):
        wider = _NUMBER.fullmatch(new)
        if wider and not wider[1]:
            return True
        same_scale = bool(wider) and int(number[2] or 0) == int(wider[2] or 0)
        return bool(same_scale and wider and number[1] and int(wider[1]) >= int(number[1]))
    return old.lower() == new.lower()


# With a default that is worked out once, a column is added without a look at the rows.
_ONCE = frozenset(
    {
        "now",
        "transaction_timestamp",
        "statement_timestamp",
        "lower",
        "upper",
        "char",
        "varchar",
        "numeric",
        "decimal",
        "bit",
        "timestamp",
        "time",
        "interval",
        "float",
        "character",
        "varying",
        "array",
        "coalesce",
    }
)


def _add_column(definition: str) -> Iterator[tuple[Kind, str | None]]:
    yield ADD_COLUMN, None
    upper = definition.upper()
    default = re.search(r"\bDEFAULT (.*)", definition, re.IGNORECASE)
    called = {name.lower() for name in re.findall(r"(\w+) \(", default[1])} if default else set[str]()
    if re.search(r"\bSTORED\b|\bAS IDENTITY\b|^(SMALL|BIG)?SERIAL", upper) or called - _ONCE - {"check", "references"}:
        yield ADD_COLUMN_REWRITES, None
    elif re.search(r"\bNOT NULL\b|\bPRIMARY KEY\b", upper) and not default and " VIRTUAL" not in upper:
        yield ADD_COLUMN_FAILS, None
    if references := re.search(rf"\bREFERENCES ({NAME})", definition, re.IGNORECASE):
        yield Kind("", Mode.ACCESS_EXCLUSIVE, other=Mode.SHARE_ROW_EXCLUSIVE), named(references[1])
        yield ADD_COLUMN_READS, None
    elif re.search(r"\bCHECK \(", upper):
        yield ADD_COLUMN_READS, None
    if re.search(r"\bUNIQUE\b|\bPRIMARY KEY\b", upper):
        yield ADD_COLUMN_BUILDS, None
