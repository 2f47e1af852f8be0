"""GraphQL over HTTP: the endpoint, as a bare ASGI application.

GraphQL over HTTP (https://graphql.github.io/graphql-over-http/draft/), called "the specification" here. What a request
says is read in ``payload.py``; what a document may ask is the engine's.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from time import perf_counter
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app import logs
from app.deadline import Deadline
from app.errors import BadUserInputError, ErrorCode, UnauthenticatedError
from app.graph.context import Context, Services
from app.graph.engine import Answer, Engine, MutationOverGetError, Request
from app.graph.page import Page
from app.graph.payload import (
    GRAPHQL,
    HTML,
    JSON,
    MediaType,
    RefusedError,
    check_content_type,
    is_by_hash,
    preferred,
    request_of_body,
    request_of_query_string,
)
from app.graph.plan.plan import Json
from app.metrics import NONE, RequestFigures
from app.replicas import Positions, noting, printed, read_positions
from app.settings import Settings

log = logging.getLogger(__name__)

ALLOWED = "GET, HEAD, OPTIONS, POST"
PUBLIC_SECONDS = 60
"""How long a public answer to a GET by hash may be kept by whoever passes it on."""
READ_AFTER = b"x-read-after"
"""The header that tells what must be seen: of an answer what it has written, of a request what the client knows of."""
CLOSED = 499
"""The status of a request whose client went away unanswered (nginx's convention)."""
LEFT_TO_CONNECTION = 65_536
"""Bytes of an answer that are written at once, whether or not the client takes them: uvicorn's own limit."""
BUSY = "The gateway has as many requests as it can take. Try again in a second."

_STATUS = {  # of an operation that was not executed, under application/graphql-response+json; 400 for all others
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.INTERNAL: 500,
    ErrorCode.RATE_LIMITED: 429,
}

# Text as it is, in UTF-8, and not letter by letter in escapes. Nothing that cannot be encoded gets past payload.py.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class _GoneError(Exception):
    """The client went away before it had said what it wants."""


class Endpoint:
    """Answers POST and GET. What lives as long as the process, it finds as ``services`` in the lifespan's state."""

    def __init__(self, engine: Engine, settings: Settings, page: Page | None) -> None:
        """With a page, a browser that comes for HTML gets that."""
        self._engine = engine
        self._settings = settings
        self._page = page
        self.figures = RequestFigures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, media_type = perf_counter(), JSON
        try:
            media_type = self._media_type(scope)
            if media_type == HTML:
                response = self._page
            else:
                response = await self._respond(scope, receive, send, media_type, start)
        except RefusedError as refused:
            self.figures.add(refused.status, perf_counter() - start, (refused.code,))
            response = refusal(refused.status, str(refused), refused.code, refused.headers, media_type)
        except _GoneError:
            self.figures.add(CLOSED, perf_counter() - start)
            return
        except asyncio.CancelledError:  # its time is up: whoever cancelled it tells the client
            self.figures.add(503, perf_counter() - start, (ErrorCode.TIMEOUT,))
            raise
        except Exception:  # masked, logged and answered further out
            self.figures.add(500, perf_counter() - start, (ErrorCode.INTERNAL,))
            raise
        if response is not None:
            await response(scope, receive, send)

    def _media_type(self, scope: Scope) -> MediaType:
        reads = scope["method"] in ("GET", "HEAD")
        offers = (GRAPHQL, JSON, HTML) if self._page is not None and reads else (GRAPHQL, JSON)
        media_type = preferred(header(scope, b"accept"), offers)
        if media_type is None:
            raise RefusedError(406, f"Answers are {GRAPHQL} or {JSON}: accept one of them.")
        return media_type

    async def _respond(
        self, scope: Scope, receive: Receive, send: Send, media_type: MediaType, start: float
    ) -> Response | None:
        """Answer the request, come at ``start``; or return what is yet to be sent, of what takes nobody's place."""
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ALLOWED})
        services: Services = scope["state"]["services"]
        request = await self._request(scope, receive)
        try:
            viewer = services.identity.viewer_of(header(scope, b"authorization"))
        except UnauthenticatedError as error:
            # RFC 6750, section 3; also under application/json, since the request was not looked into.
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise RefusedError(401, str(error), error.code, challenge) from None
        after = {} if services.replicas is None else _after(scope)
        context = Context(services, viewer, address=(scope.get("client") or ("",))[0], after=after)
        if services.replicas is not None:
            noting.set(context.has_committed)
        self._check_load()
        self.figures.in_flight += 1
        try:
            answer = await self._answer(request, context, scope)
            executor = _executor(answer)
            status = _status(answer, media_type)
            await _send_whole(answer, status, executor, request, media_type, _read_after(context), send)
            self.figures.add(
                status, perf_counter() - start, answer.codes, executor=executor, operation=answer.operation
            )
        except MutationOverGetError:
            raise RefusedError(
                405, "A GET changes nothing: send a mutation by POST.", headers={"Allow": "POST"}
            ) from None
        finally:
            self.figures.in_flight -= 1
            logs.add(statements=dict(context.statements))
        return None

    async def _answer(self, request: Request, context: Context, scope: Scope) -> Answer:
        tracing = context.services.tracing
        if tracing is None:
            return await self._engine.answer(request, context)
        with tracing.operation(header(scope, b"traceparent"), header(scope, b"tracestate")) as operation:
            logs.add(trace_id=operation.trace_id)
            answer = await self._engine.answer(request, context)
            name = (answer.operation_name or "")[: logs.LONGEST_VALUE]
            operation.answered(answer.operation, name, _executor(answer), answer.codes)
            return answer

    async def _request(self, scope: Scope, receive: Receive) -> Request:
        """What is asked, or its refusal."""
        if scope["method"] in ("GET", "HEAD"):
            return request_of_query_string(scope["query_string"])
        if scope["method"] != "POST":
            raise RefusedError(405, "Send a request by POST or GET.", headers={"Allow": ALLOWED})
        check_content_type(header(scope, b"content-type"), header(scope, b"content-encoding"))
        self._check_load()  # no use in reading it
        return request_of_body(await self._body(header(scope, b"content-length"), receive))

    def _check_load(self) -> None:
        """Refuse at once what would have to wait. A body that trickles in takes nobody's place meanwhile."""
        if self.figures.in_flight >= self._settings.max_in_flight:
            raise RefusedError(503, BUSY, ErrorCode.RATE_LIMITED, {"Retry-After": "1"})

    async def _body(self, length: str | None, receive: Receive) -> bytes:
        most = self._settings.max_body
        too_large = RefusedError(413, f"The request has more than {most} bytes.", ErrorCode.LIMIT_EXCEEDED)
        if length is not None and length.isdecimal() and int(length) > most:
            raise too_large
        deadline = Deadline(self._settings.body_timeout)
        body = bytearray()
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
        except asyncio.CancelledError:
            if not deadline.passed():
                raise
            # RFC 9110, section 15.5.9: the connection is of no more use.
            headers = {"Connection": "close"}
            raise RefusedError(408, "The request took too long to arrive.", ErrorCode.TIMEOUT, headers) from None
        finally:
            deadline.end()


def header(scope: Scope, name: bytes) -> str | None:
    """A header's value; of several, all with commas between them (RFC 9110, section 5.3)."""
    headers = cast("list[tuple[bytes, bytes]]", scope["headers"])
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return ", ".join(values) if values else None


def _after(scope: Scope) -> Positions:
    """What the client must see, by the header that an earlier answer had."""
    try:
        return read_positions(header(scope, READ_AFTER) or "")
    except BadUserInputError as error:
        raise RefusedError(400, str(error)) from None


def _read_after(context: Context) -> list[tuple[bytes, bytes]]:
    """The header for the client to send from now on, where the operation has written."""
    if not context.committed:
        return []
    return [(READ_AFTER, printed({**context.after, **context.committed}).encode())]


def _executor(answer: Answer) -> str:
    return NONE if answer.refused else "plan" if answer.is_compiled else "resolvers"


def _status(answer: Answer, media_type: MediaType) -> int:
    if answer.refused and media_type == GRAPHQL:
        return next((_STATUS[code] for code in sorted(answer.codes) if code in _STATUS), 400)
    return 200


async def _send_whole(
    answer: Answer,
    status: int,
    executor: str,
    request: Request,
    media_type: MediaType,
    more: list[tuple[bytes, bytes]],
    send: Send,
) -> None:
    """Send an answer, and wait until the client has taken what is too much to be left to the connection."""
    logs.add(
        operation=(answer.operation_name or "")[: logs.LONGEST_VALUE] or None,
        codes=sorted(map(str, answer.codes)),
        executor=None if answer.refused else executor,
    )
    is_public = answer.cacheable and not request.may_mutate and is_by_hash(request)
    body = _encoded(_identified(answer.body))
    headers = [
        *_headers(media_type, None if answer.refused else executor, is_public),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    # Uvicorn waits for the client before it writes, and not after the last piece: so there is an empty one.
    much = len(body) > LEFT_TO_CONNECTION
    await send({"type": "http.response.body", "body": body, "more_body": much})
    if much:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@lru_cache
def _headers(media_type: MediaType, executor: str | None, is_public: bool) -> list[tuple[bytes, bytes]]:
    """The headers of an answer but for its length. None is anybody else's, unless it is public."""
    headers = {"Content-Type": f"{media_type}; charset=utf-8"}
    if executor is not None:
        headers["X-Executor"] = executor
    if is_public:
        # A cache must not give one viewer's answer to another, nor one origin's leave to another.
        headers |= {"Cache-Control": f"public, max-age={PUBLIC_SECONDS}", "Vary": "Accept, Authorization, Origin"}
    else:
        headers |= {"Cache-Control": "private, no-store", "Vary": "Accept"}
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def refusal(
    status: int,
    message: str,
    code: ErrorCode,
    headers: Mapping[str, str] = {},
    media_type: MediaType = JSON,
    **extensions: str,
) -> Response:
    """The answer to a request that was not looked into, in the shape of every other error."""
    if status < 500:
        log.debug("%s %s", status, message)
    logs.add(codes=[str(code)])
    error = {"message": message, "extensions": {"code": code, **extensions}}
    shown = JSON if media_type == HTML else media_type
    defaults = {name.decode(): value.decode() for name, value in _headers(shown, None, False)}
    return Response(_encoded(_identified({"errors": [error]})), status, {**defaults, **headers})


def _identified(body: Mapping[str, object]) -> Mapping[str, object]:
    """An answer, with the request's id where something went wrong."""
    if "errors" not in body or (request_id := logs.request_id()) is None:
        return body
    extensions = cast("dict[str, object]", body.get("extensions", {}))
    return {**body, "extensions": {**extensions, "requestId": request_id}}


def _encoded(body: Mapping[str, object]) -> bytes:
    """The JSON of an answer, parts of which can be that already."""
    parts = (f'"{name}":{value if isinstance(value, Json) else _encode(value)}' for name, value in body.items())
    return ("{" + ",".join(parts) + "}").encode()
