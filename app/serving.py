"""Serves the gateway from this process until a signal ends it."""

import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from app.errors import OperationError
from app.main import create_app
from app.settings import Settings


def listen(host: str, port: int) -> socket.socket:
    """Take the address that is to be served, before anything else is done.

    Raises:
        OperationError: it is taken, not ours to take, or no address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise OperationError(f"cannot listen on {host}: {error.strerror}; is HOST or --host right?") from None
    try:
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise OperationError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from None


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; requests that are being answered get ten seconds to end.

    Raises:
        OperationError: the application did not start; the log says why.
    """
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_level=settings.log_level,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    with ended_by_signals():
        try:
            server.run(sockets=[listener])
        except SystemExit:
            # Uvicorn raises the signal again once it has ended in good order, which is what was asked for.
            if not server.started:
                raise
    if not server.started:
        raise OperationError("the gateway did not start; its log says why")


@contextmanager
def ended_by_signals() -> Generator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the block by SystemExit, so that whatever it opened is closed.

    SIGINT is set as well, since a shell ignores it for what it starts in the background. Under ``nohup``, which ignores
    SIGHUP, that stays ignored.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # for which the server has a handler of its own while it serves

    handlers = {signal.SIGINT: end, signal.SIGTERM: end, signal.SIGHUP: hang_up}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        del handlers[signal.SIGHUP]
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
