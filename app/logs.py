"""What the process says about itself: a line for each event on standard error, as JSON or for a person to read.

Everything logs through the standard library's ``logging``, also the libraries we use; structlog renders it. No line has
the text of an exception that nobody expected: it can repeat a row, a parameter or a password.
"""

import logging
import re
import sys
import traceback
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars
from structlog.types import EventDict, Processor

from app.settings import Settings

LONGEST_VALUE = 200
"""Characters of any value in a line."""
REQUESTS = "app.requests"
"""The logger of the line that every request has."""

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_APP = str(Path(__file__).parent) + "/"


def configure(settings: Settings) -> None:
    """Send every log line of the process to standard error, as LOG_FORMAT and LOG_LEVEL say."""
    console = settings.log_format == "console"
    render: list[Processor] = (
        [_for_a_person, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _without_text,
                _short,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())


def begin_request(given: str | None) -> str:
    """Name the request in every log line that it leads to: by the id that it came with if that is sane, else a new one.

    Returns:
        The id.
    """
    request_id = given if given is not None and _SANE_ID.fullmatch(given) else uuid4().hex
    clear_contextvars()  # those of the connection's request before
    bind_contextvars(request_id=request_id)
    return request_id


def request_id() -> str | None:
    """The id of the request that is being answered."""
    return get_contextvars().get("request_id")


def add(**values: object) -> None:
    """Have these in the request's line, and in whatever is logged until then."""
    bind_contextvars(**values)


def fault(error: BaseException) -> dict[str, str]:
    """An exception without its text: its type, and the lines of ours that it came through, outermost first. Where they
    are too many, the outermost are left out."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_APP)]
    places = [f"{frame.filename.removeprefix(_APP)}:{frame.lineno}" for frame in frames]
    while len(stack := " > ".join(places)) > LONGEST_VALUE:
        del places[0]
    return {"exception": f"{type(error).__module__}.{type(error).__qualname__}"[:LONGEST_VALUE], "stack": stack}


def _without_text(_logger: Any, _method: str, event: EventDict) -> EventDict:  # structlog's own signature
    """Replace the traceback of a record, which ends in the exception's text."""
    event.pop("color_message", None)  # uvicorn's line a second time
    _, error, _ = event.pop("exc_info", (None, None, None))  # as it stands in every record of the standard library
    if str(event["event"]).startswith("Traceback "):
        # Starlette's, of a start or an end that went wrong, which uvicorn logs as text while the error is handled.
        event["event"] = "the gateway did not start, or did not end, in good order"
        error = sys.exception()
    if isinstance(error, BaseException):
        event.update(fault(error))
    return event


def _short(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Cut what is too long, and leave out what is not there."""
    if event["logger"] == "uvicorn.error":
        event["logger"] = "uvicorn"  # what it calls the logger of everything that is no request
    return {
        name: value[:LONGEST_VALUE] if isinstance(value, str) else value
        for name, value in event.items()
        if value is not None
    }


def _for_a_person(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """What a request was and how it went first, as in: POST /graphql 200 19 ms Name."""
    if event["logger"] == REQUESTS and "status" in event:
        first = [event.pop(name) for name in ("method", "path", "status")]
        last = [f"{event.pop('duration_ms'):.0f} ms", event.pop("operation", "")]
        event["event"] = " ".join(str(part) for part in first + last).rstrip()
    return {name: value for name, value in event.items() if value or value == 0}
