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
"""Characters of anything in a line that a client chose."""

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_FOLDER = str(Path(__file__).parent.parent) + "/"


def configure(settings: Settings) -> None:
    """Send every log line of the process to standard error, as LOG_FORMAT and LOG_LEVEL say."""
    console = settings.log_format == "console"
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
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
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
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
    """An exception without its text: its type, and where it came from, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "exception": f"{type(error).__module__}.{type(error).__qualname__}",
        "stack": " > ".join(f"{frame.filename.removeprefix(_FOLDER)}:{frame.lineno}" for frame in frames),
    }


def _without_text(_logger: Any, _method: str, event: EventDict) -> EventDict:  # structlog's own signature
    """Replace the traceback of a record, which ends in the exception's text."""
    event.pop("color_message", None)  # uvicorn's line a second time
    _, error, _ = event.pop("exc_info", (None, None, None))  # as it stands in every record of the standard library
    if isinstance(error, BaseException):
        event.update(fault(error))
    return event
