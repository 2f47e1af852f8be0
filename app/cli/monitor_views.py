"""The tables of ``storegraph monitor``: each topic's report, drawn so that 80 columns show what matters."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from app.operations.monitoring.units import duration, shortened

if TYPE_CHECKING:
    from app.operations.monitoring.activity import Activity
    from app.operations.monitoring.bloat import Bloat
    from app.operations.monitoring.cache import Cache
    from app.operations.monitoring.indexes import Index, Indexes
    from app.operations.monitoring.kill import Victim
    from app.operations.monitoring.locks import Chain, Link
    from app.operations.monitoring.logs import Entry
    from app.operations.monitoring.pools import Pool
    from app.operations.monitoring.servers import Report
    from app.operations.monitoring.sizes import Sizes
    from app.operations.monitoring.slow import Statement
    from app.operations.monitoring.status import Status
    from app.operations.monitoring.tables import Table as TableRow

T = TypeVar("T")

_NONE = "-"


def status(report: "Report[Status]") -> RenderableType:
    """A line for each database; what they have in common stands in the first of their server's."""
    table = _table("database", ">size", "reachable", "~server", ">connections", "in recovery")
    for of in report.rows:
        for number, name in enumerate(of.databases):
            size = decimal(of.bytes[name]) if of.bytes else _NONE
            if number:
                _add(table, name, size)
                continue
            if of.uptime_seconds is None:
                _add(table, name, size, "no", *[_NONE] * 3)
                continue
            _add(
                table,
                *(name, size, f"up {duration(of.uptime_seconds)}", f"{of.server}\nPostgreSQL {of.version}"),
                *(f"{of.connections} of {of.max_connections}\n{_percent(of.percent)}", _yes(bool(of.in_recovery))),
            )
        if of.reachable:
            table.add_section()
    return table


def activity(report: "Report[Activity]") -> RenderableType:
    """A table for each server: each session with what it does, and before that what it waits for."""
    if not report.rows:
        return "Nothing runs."
    servers, parts = _by(report.rows, lambda of: of.server), list[RenderableType]()
    for server, of_server in servers:
        table = _table(">pid", "session", "state", ">for", "~query")
        for of in of_server:
            _add(table, *_session(of))
        parts += ["", _text(server), table] if len(servers) > 1 else [table]
    return Group(*parts)


def _session(of: "Activity") -> tuple[str | Text, ...]:
    who = " ".join(part for part in (of.database, of.user) if part)
    what = of.application or (None if of.kind == "client backend" else of.kind)
    state = of.state or (_NONE if of.kind else "not visible")
    text = Text()
    if of.wait_event and of.wait_event_type not in ("Client", "Activity"):
        blockers = f", held by {', '.join(map(str, of.blocked_by))}" if of.blocked_by else ""
        text.append(f"waits for {of.wait_event_type} {of.wait_event}{blockers}\n", style="bold")
    text.append(shortened(of.query or _NONE, 160))
    session = "\n".join(part for part in (who, what) if part)
    return str(of.pid), session, state.replace("in transaction", "in\ntransaction"), _duration(of.seconds), text


def pools(report: "Report[Pool]") -> RenderableType:
    """A table for each server, with what is in use of its connections."""
    if not report.rows:
        return "There is no connection but this command's."
    parts: list[RenderableType] = []
    for server, of_server in _by(report.rows, lambda of: of.server):
        table = _table("database", "application", "user", "state", ">connections")
        for of in of_server:
            _add(table, of.database, of.application or _NONE, of.user, of.state, str(of.connections))
        used, maximum = sum(of.connections for of in of_server), of_server[0].max_connections
        share = _percent(round(100 * used / maximum, 1))
        parts += [table, _text(f"{server}: {used} of {maximum} connections, {share}")]
    return Group(*parts)


def locks(report: "Report[Link]") -> RenderableType:
    """A tree for each session that others wait for."""
    from app.operations.monitoring.locks import chains

    if not report.rows:
        return "Nobody waits for a lock."
    return Group(*(_grown(Tree(_link(chain.link), guide_style="dim"), chain) for chain in chains(report.rows)))


def _grown(tree: Tree, chain: "Chain") -> Tree:
    for waiting in chain.waiting:
        _grown(tree.add(_link(waiting.link)), waiting)
    return tree


def _link(of: "Link") -> Text:
    who = ", ".join(part for part in (of.database, of.user, of.application) if part)
    text = Text()
    text.append(f"pid {of.pid}" if of.pid else "a prepared transaction (pg_prepared_xacts)", style="bold")
    text.append(_text(f" ({who}): {of.state or 'state not visible'}" if of.pid else ""))
    if of.transaction_seconds is not None:
        text.append(f", transaction open for {duration(of.transaction_seconds)}")
    if of.mode:
        held = f", held: {', '.join(of.held_modes)}" if of.held_modes else ", behind others who wait"
        text.append(f"\nwaits {_duration(of.wait_seconds)} for {of.mode} on {of.object}{held}")
    if of.query:
        text.append(f"\n{shortened(of.query, 160)}", style="dim")
    return text


def tables(report: "Report[TableRow]") -> RenderableType:
    """A table for each database."""
    parts: list[RenderableType] = []
    for database, of_database in _by(report.rows, lambda of: of.database):
        table = _table(f"~{database}", ">rows", ">dead", ">vacuum", ">analyze", ">seq", ">index", ">hot")
        for of in of_database:
            _add(
                table,
                *(_named(of.table, of.partitions), f"{of.live_rows:,}", f"{of.dead_rows:,}"),
                *(_ago(of.vacuumed_at), _ago(of.analyzed_at)),
                *(f"{of.sequential_scans:,}", f"{of.index_scans:,}", _percent(of.hot_percent)),
            )
        parts += [table, ""]
    if not parts:
        return "There are no tables."
    legend = "vacuum, analyze: how long ago; seq, index: scans; hot: updates that touched no index"
    return Group(*parts, Text(legend, style="dim"), *_of_partitions(of.partitions for of in report.rows))


def indexes(report: "Report[Indexes]") -> RenderableType:
    """Two tables for each database: its indexes, and where one may be missing."""
    parts: list[RenderableType] = []
    for of_database in report.rows:
        table = _table(f"~{of_database.database}", ">size", ">scans", "~remarks")
        for of in of_database.indexes:
            name = of.name if of.table in of.name else f"{of.name} of {of.table}"
            _add(table, _named(name, of.partitions), _size(of.bytes), f"{of.scans:,}", _remarks(of))
        parts += [table, ""]
        if of_database.missing:
            missing = _table(f"missing in {of_database.database}?", "~columns", "~because")
            for suggested in of_database.missing:
                _add(missing, suggested.table, ", ".join(suggested.columns) or _NONE, suggested.reason)
            parts += [missing, ""]
    counts = (of.partitions for of_database in report.rows for of in of_database.indexes)
    return Group(*parts[:-1], *_of_partitions(counts))


def _remarks(of: "Index") -> str:
    said = {
        "being built": of.building,
        "INVALID": not of.valid and not of.building,
        f"duplicate of {of.duplicate_of}": of.duplicate_of is not None,
        "unused": of.unused and not of.foreign_key,
        "unused, but for a foreign key": of.unused and of.foreign_key,
        "primary key": of.primary_key,
        "constraint": of.constraint and not of.primary_key,
        "unique": of.unique and not of.constraint,
    }
    return ", ".join(remark for remark, holds in said.items() if holds)


def slow(report: "Report[Statement]") -> RenderableType:
    """A table for each database; times are milliseconds."""
    if not report.rows:
        return "No statement has been counted yet."
    parts: list[RenderableType] = []
    for database, of_database in _by(report.rows, lambda of: of.database):
        table = _table(">total", ">share", ">calls", ">mean ms", ">rows a call", f"~{database}")
        for of in of_database:
            _add(
                table,
                *(_total(of.total_ms), _percent(of.percent), f"{of.calls:,}", f"{of.mean_ms:,.2f}"),
                *(f"{of.rows / max(of.calls, 1):,.0f}", _line(of.query)),
            )
        parts += [table, ""]
    return Group(*parts[:-1])


def _total(milliseconds: float) -> str:
    return duration(milliseconds / 1000) if milliseconds >= 1000 else f"{milliseconds:.1f}ms"


def cache(report: "Report[Cache]") -> RenderableType:
    """A line for each database, and one for each of its tables that most is read of."""
    table = _table("database", "table", ">table hits", ">index hits", ">blocks read")
    for of in report.rows:
        _add(table, of.database, "all", _percent(of.table_percent), _percent(of.index_percent), "", style="bold")
        for worst in of.worst:
            hits = _percent(worst.table_percent), _percent(worst.index_percent)
            _add(table, "", worst.table, *hits, f"{worst.table_read + worst.index_read:,}")
        table.add_section()
    return table


def sizes(report: "Report[Sizes]") -> RenderableType:
    """A table for each database, with its total in the last line."""
    parts: list[RenderableType] = []
    for of_database in report.rows:
        table = _table(f"~{of_database.database}", ">all", ">table", ">indexes", ">TOAST")
        for of in of_database.relations:
            room = (of.bytes, of.table_bytes, of.index_bytes, of.toast_bytes)
            _add(table, _named(of.name, of.partitions), *map(_size, room))
        table.add_section()
        _add(table, "the database, with its catalogs", decimal(of_database.bytes), style="bold")
        parts += [table, ""]
    counts = (of.partitions for of_database in report.rows for of in of_database.relations)
    return Group(*parts[:-1], *_of_partitions(counts))


def bloat(report: "Report[Bloat]", limit: int = 20) -> RenderableType:
    """The largest estimates, of all databases together."""
    table = _table("database", "kind", "~name", ">size", ">bloat, estimated", ">share")
    shown = sorted((of for of in report.rows if of.bloat_bytes), key=lambda of: -of.bloat_bytes)[:limit]
    for of in shown:
        name = _named(of.name, of.partitions)
        _add(table, of.database, of.kind, name, decimal(of.bytes), decimal(of.bloat_bytes), _percent(of.percent))
    if not shown:
        return "Nothing seems to be bloated."
    return Group(table, *_of_partitions(of.partitions for of in shown))


def logs(report: "Report[Entry]") -> RenderableType:
    """The entries as lines, the details of each below it."""
    if not report.rows:
        return "There are no such entries."
    several = len({of.server for of in report.rows}) > 1
    lines: list[Text] = []
    for of in report.rows:
        text = Text()
        who = " ".join(part for part in (of.database, of.user, str(of.pid) if of.pid else None) if part)
        text.append(" ".join(part for part in (of.server if several else None, of.time, who) if part), style="dim")
        text.append(f" {of.level.upper()} ", style="bold red" if of.level in ("error", "fatal", "panic") else "bold")
        text.append(_text(of.message))
        if of.detail:
            text.append("\n    " + _text(of.detail.replace("\n", "\n    ").replace("\t", "    ")).plain, style="dim")
        lines.append(text)
    return Text("\n").join(lines)


def victim(of: "Victim") -> str:
    """What a session is, for whoever is to say whether it may go."""
    who = f"{of.user}, {of.application or 'no application name'}"
    return (
        f"pid {of.pid} of {of.database} on {of.server} ({who}): {of.state} for {_duration(of.seconds)}\n"
        f"  {shortened(of.query or _NONE, 500)}"
    )


def _table(*columns: str) -> Table:
    """A table without edges. Of a column's name, ``>`` before it makes numbers of it, and ``~`` lets it get narrow."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        yields = column[0] == "~"
        table.add_column(
            column.lstrip(">~"),
            justify="right" if column[0] == ">" else "left",
            no_wrap=not yields,
            overflow="fold" if yields else "ellipsis",
        )
    return table


def _by(rows: Iterable[T], key: Callable[[T], str]) -> list[tuple[str, Sequence[T]]]:
    """Rows that stand together, by what they have in common."""
    return [(of, list(group)) for of, group in groupby(rows, key=key)]


def _line(text: str | None) -> Text:
    """One line of a text, as much of it as there is room for."""
    return Text(shortened(text or _NONE, 300), no_wrap=True, overflow="ellipsis")


def _add(table: Table, *cells: str | Text, style: str | None = None) -> None:
    """Add a row whose cells say what they say: rich takes brackets in a plain string for its own markup."""
    table.add_row(*(_text(cell) if isinstance(cell, str) else cell for cell in cells), style=style)


def _text(text: str) -> Text:
    """A text as it is, but for what would reach the terminal as a command: others name applications and tables."""
    return Text("".join(of if of.isprintable() or of == "\n" else "\N{REPLACEMENT CHARACTER}" for of in text))


def _named(name: str, partitions: int) -> str:
    return f"{name} ({partitions})" if partitions else name


def _of_partitions(counts: Iterable[int]) -> list[Text]:
    return [Text("(n): so many partitions, taken together", style="dim")] if any(counts) else []


def _ago(moment: datetime | None) -> str:
    """How long ago something was, in its largest unit."""
    return "never" if moment is None else duration((datetime.now(UTC) - moment).total_seconds()).split()[0]


def _duration(seconds: float | None) -> str:
    return _NONE if seconds is None else duration(seconds)


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{share:g} %"


def _size(size: int | None) -> str:
    return "locked" if size is None else decimal(size) if size else "0"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
