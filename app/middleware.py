"""What goes around every request, whichever route answers it: its id, its line in the log, its faults."""

import asyncio
import logging
from time import perf_counter
from uuid import uuid4

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.errors import ErrorCode
from app.graph.http import CLOSED, header, refusal

log = logging.getLogger(logs.REQUESTS)

PROBES = ("/healthz", "/readyz")


class Draining:
    """Whether the process is about to end: set by whoever serves it."""

    begun = False
    at_once = False

    def __init__(self, *, twice_is_at_once: bool = True) -> None:
        """``twice_is_at_once``: whether whoever tells the process a second time wants it to wait no longer."""
        self.twice_is_at_once = twice_is_at_once


class Requests:
    """The outermost middleware: gives a request its id and its line in the log, and masks what nobody expected."""

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        request_id = logs.begin_request(header(scope, b"x-request-id"))
        extra = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
        status = 0

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # So that clients that keep their connection find it closed only where they expect it.
                closing = [(b"connection", b"close")] if self._draining.begun else []
                message["headers"] = [*message.get("headers", ()), *extra, *closing]
            await send(message)

        try:
            await self._app(scope, receive, respond)
        except asyncio.CancelledError:
            # Its time is up. The task ends here, so that nobody misses the cancellation.
            if status or not self._draining.begun:
                raise
            answer = refusal(503, "The gateway is being stopped.", ErrorCode.TIMEOUT, {"Retry-After": "1"})
            await answer(scope, receive, respond)
        except ClientDisconnect:
            pass  # nobody is there to be told anything
        except Exception as error:
            error_id = uuid4().hex
            log.error("something went wrong on our side", extra={"error_id": error_id, **logs.fault(error)})
            if status:
                raise
            answer = refusal(500, "Something went wrong on our side.", ErrorCode.INTERNAL, errorId=error_id)
            await answer(scope, receive, respond)
        finally:
            _log(scope, status or CLOSED, perf_counter() - started)


class Direct:
    """The innermost middleware: one path that need not go through the router, which costs a tenth of a small answer."""

    def __init__(self, app: ASGIApp, path: str, endpoint: ASGIApp) -> None:
        self._app = app
        self._path = path
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_here = scope["type"] == "http" and scope["path"] == self._path
        await (self._endpoint if is_here else self._app)(scope, receive, send)


def _log(scope: Scope, status: int, seconds: float) -> None:
    """The request's line. Neither the query string nor anything else of its text is in it."""
    quiet = scope["path"] in PROBES and status == 200
    log.log(
        logging.DEBUG if quiet else logging.INFO,
        "request",
        extra={
            "method": scope["method"],
            "path": ascii(scope["path"])[1:-1][: logs.LONGEST_VALUE],
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
        },
    )
