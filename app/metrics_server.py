"""Serves a process's metrics to Prometheus at /metrics, on a port of their own.

Not beside the API: what everybody can reach would tell everybody what the gateway does. And behind a port that several
processes share, each look would be at another one.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.errors import OperationError

log = logging.getLogger(__name__)

_MOST = 16  # connections at once, of whoever asks


@asynccontextmanager
async def metrics_served(registry: CollectorRegistry, host: str, port: int) -> AsyncGenerator[None]:
    """Answer whoever asks for the metrics, in the running loop, for as long as the block runs.

    Raises:
        OperationError: the address is taken, or not ours to take; the log says so as well.
    """

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})

    config = uvicorn.Config(
        Starlette(routes=[Route("/metrics", metrics)]),
        http=HttpToolsProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    listener = _listener(host, port)
    # A server of its own would take the signals from the one that serves the API.
    server = await loop.create_server(lambda: HttpToolsProtocol(config, state, {}), sock=listener)
    log.info("serving metrics at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:  # that of a name that there is not, too
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        message = f"cannot serve metrics on {host} port {port}: {reason}; are METRICS_HOST and METRICS_PORT right?"
        log.error(message)
        raise OperationError(message) from None
