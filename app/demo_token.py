"""The demo's way to be administrator or customer with one click: a token for whoever asks from this machine.

Only ``create_app(demo=True)`` has this route; ``serve`` never does. A page of another site must not get a token, even
one whose name was made to lead to this machine (DNS rebinding): so the Host must be the machine itself by its own name,
and the Origin, which a browser always sends with a POST, must be that same one.
"""

import asyncio
import ipaddress
import json
from typing import cast, get_args
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.errors import AppError, ErrorCode, OperationError
from app.graph.context import Services
from app.graph.http import refusal
from app.viewer import Role


async def issue_token(request: Request) -> Response:
    """Start a session for the oldest active user of the role in ``{"role": "admin"}``; the access token to it."""
    if not _is_from_here(request):
        return refusal(
            403, "Tokens of the demo are only for pages of its own, on its own machine.", ErrorCode.FORBIDDEN
        )
    services: Services = request.state.services
    try:
        async with asyncio.timeout(services.settings.body_timeout):
            role = await _role(request)
    except TimeoutError:
        message = "The request took too long to arrive."
        return refusal(408, message, ErrorCode.TIMEOUT, {"Connection": "close"})
    if role is None:
        message = f"Send a JSON object with the role: {', '.join(get_args(Role))}."
        return refusal(400, message, ErrorCode.BAD_USER_INPUT)
    try:
        tokens = await services.identity.start_session(role=role)
    except OperationError:  # its advice is for operators
        return refusal(404, f"No active user has the role {role}.", ErrorCode.NOT_FOUND)
    except AppError as error:
        return refusal(503, str(error), error.code)
    return JSONResponse(
        {"accessToken": tokens.access_token, "expiresIn": tokens.expires_in}, headers={"Cache-Control": "no-store"}
    )


async def _role(request: Request) -> Role | None:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    if int(request.headers.get("content-length", 10**6)) > 1000:
        return None
    try:
        body: object = json.loads(await request.body())
    except (ValueError, RecursionError):
        return None
    role = cast("dict[str, object]", body).get("role") if isinstance(body, dict) else None
    return cast("Role", role) if role in get_args(Role) else None


def _is_from_here(request: Request) -> bool:
    """Whether a page of our own, or a program on this machine, asks."""
    host = ", ".join(request.headers.getlist("host"))  # of several, none would be right
    origin = request.headers.get("origin")
    return (
        request.client is not None
        and _is_loopback(request.client.host)
        and _is_loopback(_hostname(host))
        and origin in (None, f"http://{host}")
    )


def _hostname(host: str) -> str:
    if "@" in host:  # which would be told apart as a user's name (RFC 9110, section 7.2, allows none)
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
