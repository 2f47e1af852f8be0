"""The gateway as an ASGI application: four pools that live as long as it does, and the routes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from app.database import Databases
from app.graph.schema import build_schema
from app.graph.view import View
from app.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """The application. It starts whether or not the databases answer."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with Databases.opened(settings) as databases:
            app.state.databases = databases
            await databases.answering()  # what does not answer is in the log from the start
            yield

    async def printed(_request: Request) -> Response:
        if not settings.introspection:
            return PlainTextResponse("The schema is not shown here: INTROSPECTION is off.\n", status_code=404)
        return PlainTextResponse(schema.as_str() + "\n")

    schema = build_schema(introspection=settings.introspection)
    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", _root),
            Route("/graphql", View(schema, settings)),
            Route("/schema.graphql", printed),
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
        ],
    )


async def _root(_request: Request) -> Response:
    return RedirectResponse("/graphql")


async def _healthz(_request: Request) -> Response:
    """Whether this process lives. Asks no database: a restart would not bring one back."""
    return JSONResponse({"status": "ok"})


async def _readyz(request: Request) -> Response:
    """Whether requests should come here: as long as any database answers, there are right answers to give."""
    databases: Databases = request.app.state.databases
    answering = await databases.answering()
    return JSONResponse(
        {"databases": {name: "ok" if answers else "unavailable" for name, answers in answering.items()}},
        status_code=200 if any(answering.values()) else 503,
    )
