"""``/schema.graphql``: the printed schema, for people and for client generators."""

import hashlib
from functools import cache

import strawberry
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def schema_route(schema: strawberry.Schema, *, shown: bool) -> Route:
    """The route of a schema's text. Whoever has it already is told so without it (RFC 9110, section 13.1.2).

    Args:
        schema: the schema; it is printed when it is first asked for.
        shown: whether it may be seen at all; else the route answers 404, and says why.
    """

    @cache
    def text_and_tag() -> tuple[str, str]:
        sdl = schema.as_str() + "\n"
        return sdl, f'"{hashlib.sha256(sdl.encode()).hexdigest()[:32]}"'

    async def printed(request: Request) -> Response:
        if not shown:
            raise HTTPException(404, "The schema is not shown here: INTROSPECTION is off.")
        sdl, tag = text_and_tag()
        # To be kept, and asked for each time: at any moment another version of the gateway may have another schema.
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if _has(tag, request):
            return Response(status_code=304, headers=headers)
        return PlainTextResponse(sdl, headers=headers)

    return Route("/schema.graphql", printed)


def _has(tag: str, request: Request) -> bool:
    """Whether the client says that it has this. Compared weakly: a proxy that compresses makes a weak tag of ours."""
    given = [one.strip() for header in request.headers.getlist("if-none-match") for one in header.split(",")]
    return "*" in given or tag in (one.removeprefix("W/") for one in given)
