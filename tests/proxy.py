"""A TCP proxy between the gateway and PostgreSQL, to take a database away and give it back."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends RST (socket(7))
_STEP = 0.02  # seconds between the pieces of what is throttled


class Proxy:
    """Passes bytes on, until told otherwise. ``restore`` takes back whatever else was told."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self._delay = 0.0
        self._rate: float | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        """How many connections there have been."""

    def refuse(self) -> None:
        """Reset every connection, those there are and those to come: the server is gone."""
        self._refusing = True
        self.reset()

    def reset(self) -> None:
        """Reset every connection that there is: the server was started anew."""
        for writer in self._writers:
            _reset(writer)

    def swallow(self) -> None:
        """Take everything and answer nothing: the network is gone, a black hole."""
        self._passing.clear()

    def strand(self) -> None:
        """Swallow for ever what comes on the connections that there are, and pass on new ones: a firewall forgot."""
        self._passing.clear()
        self._passing = asyncio.Event()
        self._passing.set()

    def delay(self, seconds: float) -> None:
        """Pass everything on so many seconds later, each way."""
        self._delay = seconds

    def throttle(self, rate: float) -> None:
        """Pass on so many bytes a second, each way of each connection."""
        self._rate = rate

    def redirect(self, port: int) -> None:
        """Lead to another server of the same host, and reset every connection: that one has taken its place."""
        self._target = self._target[0], port
        self.reset()

    def restore(self) -> None:
        """Pass everything on again, also what was held back."""
        self._refusing = False
        self._passing.set()
        self._delay = 0.0
        self._rate = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, to its end."""
        self.accepted += 1
        if self._refusing:
            _reset(writer)
            return
        # A task of its own to cancel: asyncio (3.11) logs it as an error when the one that it made is cancelled.
        task = asyncio.create_task(self._pass(reader, writer))
        self._tasks.add(task)
        await asyncio.wait({task})
        self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        ends = {writer, back}
        self._writers |= ends
        passing = self._passing
        try:
            await asyncio.gather(self._pipe(reader, back, passing), self._pipe(there, writer, passing))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def close(self) -> None:
        """Reset what there is, and wait until that is done."""
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await asyncio.sleep(self._delay)
                await passing.wait()
                if writer.is_closing():
                    return
                while data and self._rate is not None:
                    size = max(1, round(self._rate * _STEP))
                    writer.write(data[:size])
                    data = data[size:]
                    await asyncio.sleep(size / self._rate)
                writer.write(data)
                await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # it is closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def proxied(url: str) -> AsyncGenerator[tuple[Proxy, str]]:
    """A proxy before the server of a URL, and the URL that goes through it.

    Without TLS, which our servers have not: asyncpg (0.32) asks for it first, and where the connection is lost at that
    very moment, an exception that nobody looks at stays behind in its TLSUpgradeProto, for which the test would fail.
    """
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "127.0.0.1", parts.port or 5432)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user = f"{parts.username}@" if parts.username else ""
    try:
        yield proxy, urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}", query="sslmode=disable"))
    finally:
        server.close()
        await proxy.close()
