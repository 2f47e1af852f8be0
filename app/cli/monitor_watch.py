"""``storegraph monitor watch``: a topic again and again, like top."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from app.cli import monitor_views as views
from app.cli.monitor import as_json_text, lines_below, monitor, stop_if_wrong, urls_of
from app.cli.output import Json, OneDatabase, output
from app.operations.monitoring.options import Topic

if TYPE_CHECKING:
    from app.operations.monitoring.servers import Report, Urls

Row = TypeVar("Row")
Drawn = tuple["Report[object]", RenderableType]


@monitor.command()
def watch(
    topic: Annotated[Topic, typer.Argument(help="What to watch, with its defaults.")] = "activity",
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="From one look to the next.")] = 2.0,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many; for ever by default.")] = None,
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Look at a topic again and again, until Ctrl-C. A database that is down is shown as such, and asked again.

    In a terminal the picture is renewed; elsewhere each is printed below the last, with --json as a line. With --count
    the exit code is that of the last look.
    """
    urls, draw, seen = urls_of(database), _topics()[topic], 0
    live = Live(console=output, screen=True, auto_refresh=False) if output.is_terminal and not as_json else None
    report: Report[object] | None = None
    with suppress(KeyboardInterrupt), live or nullcontext():
        while True:
            report, picture = draw(urls)
            seen += 1
            if as_json:
                print(as_json_text(report), flush=True)
            elif live:
                live.update(_screen(topic, every, report, picture), refresh=True)
            else:
                output.print(_screen(topic, every, report, picture), highlight=False)
            if seen == count:
                break
            _rest(every)
    if seen == count and report is not None:
        stop_if_wrong(report)


def _rest(seconds: float) -> None:
    """Sleep in short steps: of a signal that comes just before a sleep begins, Python learns when it ends."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))


def _screen(topic: Topic, every: float, report: "Report[object]", picture: RenderableType) -> RenderableType:
    head = Text(f"{topic}, every {every:g} s, at {datetime.now().astimezone():%H:%M:%S}", style="bold")
    errors = [Text(line, style="bold red") for line in dict.fromkeys(report.errors.values())]
    return Group(head, "", picture if report.rows or not report.errors else "", *errors, *lines_below(report))


def _topics() -> dict[Topic, Callable[["Urls"], Drawn]]:
    """How each topic is looked at and drawn."""
    from app.operations.monitoring import (
        activity,
        bloat,
        cache,
        indexes,
        locks,
        logs,
        pools,
        sizes,
        slow,
        status,
        tables,
    )

    return {
        "status": _drawn(status.look, views.status),
        "activity": _drawn(activity.look, views.activity),
        "pools": _drawn(pools.look, views.pools),
        "locks": _drawn(locks.look, views.locks),
        "tables": _drawn(tables.look, views.tables),
        "indexes": _drawn(indexes.look, views.indexes),
        "slow": _drawn(slow.look, views.slow),
        "cache": _drawn(cache.look, views.cache),
        "sizes": _drawn(sizes.look, views.sizes),
        "bloat": _drawn(bloat.look, views.bloat),
        "logs": _drawn(logs.look, views.logs),
    }


def _drawn(
    look: "Callable[[Urls], Coroutine[Any, Any, Report[Row]]]",  # what a coroutine yields and is sent is asyncio's
    view: "Callable[[Report[Row]], RenderableType]",
) -> Callable[["Urls"], Drawn]:
    def draw(urls: "Urls") -> Drawn:
        report = asyncio.run(look(urls))
        return report, view(report)

    return draw
