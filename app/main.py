"""The gateway as an ASGI application: what lives as long as the process, the routes, and what goes around them."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from app.database import Databases
from app.demo_token import issue_token
from app.domains import revisions
from app.domains.revisions import Revision
from app.errors import ErrorCode
from app.graph.context import Services, count_statement
from app.graph.engine import Engine
from app.graph.graphiql import files_route, installed
from app.graph.http import Endpoint, refusal
from app.graph.page import build_page
from app.graph.schema import build_schema
from app.graph.schema_route import schema_route
from app.identity.sessions import Identity
from app.middleware import Direct, Draining, Requests
from app.replicas import Replicas
from app.settings import DATABASE_NAMES, DatabaseName, Settings

if TYPE_CHECKING:
    from app.tracing import Tracing

log = logging.getLogger(__name__)


def create_app(
    settings: Settings, *, draining: Draining | None = None, demo: bool = False, compiles: bool = True
) -> Starlette:
    """The application. It starts whether or not the databases answer.

    Args:
        settings: the process's.
        draining: how whoever serves it says that it is about to end.
        demo: give whoever asks from this machine a token for whatever role; see ``demo_token.py``.
        compiles: as ``Engine`` has it.
    """
    draining = draining or Draining()
    schema = build_schema()
    histories = revisions.histories() if settings.ready_at_heads else {}

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[dict[str, object]]:
        async with _opened(settings) as services, _measured(settings, services, engine, endpoint):
            yield {"services": services}

    async def readyz(request: Request) -> Response:
        if draining.begun:
            return JSONResponse({"status": "draining"}, 503, headers=_UNCACHED)
        return await _ready(_services(request), histories)

    folder = installed(settings) if settings.graphiql else None
    page = build_page(folder=folder, demo=demo, explains=settings.explain != "off") if settings.graphiql else None
    engine = Engine(schema, settings, compiles=compiles)
    endpoint = Endpoint(engine, settings, page)
    routes = [
        Route("/", _root),
        schema_route(schema, shown=settings.introspection),
        Route("/healthz", _healthz),
        Route("/readyz", readyz),
    ]
    if folder is not None:
        routes.append(files_route(folder))
    if demo:
        routes.append(Route("/demo/token", issue_token, methods=["POST"]))
    app = Starlette(
        lifespan=lifespan,
        routes=routes,
        middleware=[Middleware(Requests, draining), *_cors(settings), Middleware(Direct, "/graphql", endpoint)],
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False  # its redirect trusts the Host header
    return app


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Services]:
    async with (
        _traced(settings.otel_exporter_otlp_endpoint) as tracing,
        Databases.opened(settings, count_statement) as databases,
        Replicas.opened(databases, settings, count_statement) as replicas,
        Identity.opened(databases, settings) as identity,
    ):
        await databases.answering()  # what does not answer is in the log from the start
        await databases.check_capacity(list(replicas or ()))
        yield Services(databases, settings, identity, tracing, replicas)


@asynccontextmanager
async def _traced(endpoint: str | None) -> "AsyncGenerator[Tracing | None]":
    """What makes traces, where there is somebody to send them to and OpenTelemetry is installed."""
    if endpoint is None:
        yield None
        return
    try:
        from app.tracing import traced
    except ImportError:
        log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but nothing is traced: OpenTelemetry is not installed; "
            "install it with: pip install 'storegraph[otel]'"
        )
        yield None
        return
    async with traced(endpoint) as tracing:
        yield tracing


@asynccontextmanager
async def _measured(settings: Settings, services: Services, engine: Engine, endpoint: Endpoint) -> AsyncGenerator[None]:
    """Serve the metrics, where METRICS_PORT says so."""
    if settings.metrics_port is None:
        yield
        return
    # Not before they are wanted: without them the process starts sooner, and takes less memory.
    from app.metrics_collector import Sources, registry_of
    from app.metrics_server import metrics_served
    from app.metrics_upkeep import Upkeep

    async with Upkeep.of(services.databases["orders"]) as upkeep:
        sources = Sources(
            services.databases, services.identity, endpoint.figures, engine.figures, upkeep, services.replicas
        )
        async with metrics_served(registry_of(sources), settings.metrics_host, settings.metrics_port):
            yield


_UNCACHED = {"Cache-Control": "no-store"}


def _cors(settings: Settings) -> list[Middleware]:
    """Which other sites' pages may read answers: none, unless CORS_ORIGINS names them. No cookie ever counts."""
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-Read-After", "X-Request-ID"),
            expose_headers=("Retry-After", "X-Read-After", "X-Request-ID"),
        )
    ]


def _services(request: Request) -> Services:
    services: Services = request.state.services
    return services


async def _refuse(_request: Request, error: Exception) -> Response:
    """What the router refuses, in the shape of every other error."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- it is registered for no other
    code = ErrorCode.NOT_FOUND if error.status_code == 404 else ErrorCode.BAD_USER_INPUT
    message = "There is nothing here. The API is at /graphql."
    if error.detail != HTTPStatus(error.status_code).phrase:  # said by us
        message = error.detail
    elif error.status_code == 405:
        message = "This address does not take that method."
    return refusal(error.status_code, message, code, error.headers or {})


async def _root(_request: Request) -> Response:
    return RedirectResponse("/graphql")


async def _ready(services: Services, histories: Mapping[DatabaseName, list[Revision]]) -> Response:
    """Whether requests should come here: as long as any database answers, there are right answers to give.

    But not before those that answer and have a history here hold all the tables that this version reads.
    """
    databases = services.databases
    answering = await databases.answering()
    readable = {replica.name for replica in services.replicas or () if replica.is_used}
    states = {
        name: "ok" if answering[name] else "read-only" if name in readable else "unavailable" for name in DATABASE_NAMES
    }
    body: dict[str, object] = {"databases": states}
    behind = await revisions.behind(databases, {name: histories[name] for name in histories if answering[name]})
    if behind:
        body["behind"] = {name: asdict(of_name) for name, of_name in behind.items()}
    is_ready = any(state != "unavailable" for state in states.values()) and not behind
    return JSONResponse(body, 200 if is_ready else 503, headers=_UNCACHED)


async def _healthz(_request: Request) -> Response:
    """Whether this process lives. Asks no database: a restart would not bring one back."""
    return JSONResponse({"status": "ok"}, headers=_UNCACHED)
