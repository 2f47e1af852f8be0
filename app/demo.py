"""``storegraph demo``: everything at once on one machine, from nothing to a page that answers queries.

A demo's folder holds ``postgres`` (the server's data and what lies beside them, see ``operations/server.py``);
``demo.lock``, held by the demo that prepares the databases while others wait; and ``demo.env``, the databases' URLs and
the secret that tokens are signed with. That file is written last: where it is missing, a first start was broken off,
and the next one begins anew.
"""

import asyncio
import fcntl
import os
import secrets
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import platformdirs
from pydantic import SecretStr

from app.errors import OperationError
from app.operations import databases, migrations
from app.operations.binaries import find_binaries
from app.operations.seed import is_empty, seed
from app.operations.server import LocalServer, enable_statement_statistics, open_lock, remove, running
from app.serving import ended_by_signals, listen, serve
from app.settings import DATABASE_NAMES, LocalSettings, Settings, load_local_settings, load_settings

ORDERS_AT_SCALE_1 = 10_000
SECRET = "JWT_SECRET="  # noqa: S105 -- the beginning of its line
PUBLIC_QUERY = "{ products(first: 2) { nodes { name price category { name ancestors { name } } } } }"
STAFF_QUERY = "{ orders(first: 2) { nodes { totalAmount user { email } items { quantity product { name } } } } }"


def demo(*, port: int | None, data_dir: Path | None, scale: float, reset: bool) -> None:
    """Serve four databases of our own, on a server of our own, filled with made-up data, until a signal ends it.

    Args:
        port: the gateway's; by default as for ``serve``.
        data_dir: where the data are kept from one start to the next; by default STOREGRAPH_DATA, or else the folder
            that the system has for a user's data.
        scale: how much data to make when there are none: 1 is 10,000 orders.
        reset: throw away the data that are there.

    Raises:
        OperationError: a folder, a port or a setting is in the way; the message names it.
    """
    local = load_local_settings()
    settings = _settings_without_server(port)
    binaries = find_binaries(local.postgres)
    folder = (data_dir or _default_folder(local)).expanduser().absolute()
    environment = folder / "demo.env"
    with ended_by_signals(), _claim(folder) as lock, listen(settings.host, settings.port) as listener:
        _lock(lock, folder)
        if reset or not environment.exists():
            remove(folder / "postgres")
            environment.unlink(missing_ok=True)
        secret = settings.jwt_secret or _secret_in(environment) or SecretStr(secrets.token_urlsafe(48))
        with running(folder / "postgres", binaries) as server:
            settings = settings.model_copy(update={**_urls(server), "jwt_secret": secret})
            asyncio.run(_prepare(settings, round(scale * ORDERS_AT_SCALE_1)))
            _write(environment, settings, secret)
            fcntl.flock(lock, fcntl.LOCK_UN)
            _print_what_to_try(settings, server, folder)
            serve(settings, listener, demo=True)


def _default_folder(local: LocalSettings) -> Path:
    if local.data is not None:
        return local.data
    try:
        # As root, one outside root's home: the server runs as another user, who could not enter it.
        return platformdirs.user_data_path("storegraph", use_site_for_root=True)
    except RuntimeError:
        raise OperationError(
            "you have no home folder; say with STOREGRAPH_DATA or --data-dir where to keep the data"
        ) from None


def _claim(folder: Path) -> IO[bytes]:
    """Open the lock of a demo's folder. A folder of anything else stays untouched, ``--reset`` or not."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise OperationError(
            f"cannot use {folder}: {error.strerror}; choose another folder with STOREGRAPH_DATA or --data-dir"
        ) from None
    if names and "demo.lock" not in names:
        raise OperationError(
            f"{folder} is not empty and not a demo's folder; choose another with STOREGRAPH_DATA or --data-dir"
        )
    return open_lock(folder / "demo.lock")


def _lock(lock: IO[bytes], folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"Waiting for another demo, which is preparing {folder}", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _settings_without_server(port: int | None) -> Settings:
    """The settings but for the port of a server that is yet to be started: what is wrong with them is said first."""
    given: dict[str, object] = _urls(LocalServer(port=5432, started=False))
    if port is not None:
        given["port"] = port
    settings = load_settings(**given, graphiql=True, introspection=True)
    # Somebody is looking at it, and no balancer needs time to notice its end.
    own: dict[str, object] = {"log_format": "console", "drain_grace": 0.0, "explain": "on"}
    return settings.model_copy(update={name: own[name] for name in own.keys() - settings.model_fields_set})


def _urls(server: LocalServer) -> dict[str, object]:
    return {f"{name}_database_url": server.url(f"ecommerce_{name}") for name in DATABASE_NAMES}


async def _prepare(settings: Settings, orders: int) -> None:
    """Bring the four databases to where they can be served; what is there already stays."""
    today = datetime.now(UTC).date()
    for name in DATABASE_NAMES:
        url = settings.database_url(name)
        await databases.create(name, url)
        await migrations.upgrade(name, url, today)
        await enable_statement_statistics(name, url)
    if await is_empty(settings):
        print(f"Making the data of a shop with {orders:,} orders", flush=True)
        await seed(settings, orders=orders, until=today)
    else:
        print("Using the data of an earlier start; --reset makes new ones", flush=True)


def _secret_in(environment: Path) -> SecretStr | None:
    """The secret of an earlier start, or of a demo that runs on the same data: tokens of one are good in the other."""
    if not environment.exists():
        return None
    lines = environment.read_text().splitlines()
    return next(
        (SecretStr(shlex.split(line.removeprefix(SECRET))[0]) for line in lines if line.startswith(SECRET)), None
    )


def _write(environment: Path, settings: Settings, secret: SecretStr) -> None:
    lines = [f"{name.upper()}_DATABASE_URL={settings.database_url(name)}\n" for name in DATABASE_NAMES]
    unfinished = environment.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write("# The demo's databases, while it runs; its server has another port at the next start.\n")
        file.writelines([*lines, f"{SECRET}{shlex.quote(secret.get_secret_value())}\n"])
    unfinished.replace(environment)


def _print_what_to_try(settings: Settings, server: LocalServer, folder: Path) -> None:
    url = f"http://{settings.host}:{settings.port}/graphql"
    command = shlex.quote(sys.argv[0])
    query, of_staff = (f'{{"query": "{text}"}}' for text in (PUBLIC_QUERY, STAFF_QUERY))
    print(
        f"""
Open in a browser   {url}
Or ask from here    curl -s {url} -H 'Content-Type: application/json' -d '{query}'
The databases       set -a; . {shlex.quote(str(folder / "demo.env"))}; set +a
                    {command} db status
As administrator    curl -s {url} -H 'Content-Type: application/json' \\
                      -H "Authorization: Bearer $({command} token --role admin)" -d '{of_staff}'
The data            {folder}{"" if server.started else " (served by the demo that was started first)"}
To stop             Ctrl-C
""",
        flush=True,
    )
