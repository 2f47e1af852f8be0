"""Who is measured: the gateway, and the peers that it is compared with, each a server that answers the five queries.

One more is another entry in ``peers``: another command, or the gateway itself with other headers or settings.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.load import http
from bench.queries import Work

OURS = "storegraph"
_MERCURIUS = Path(__file__).with_name("mercurius")

Ask = Callable[[Work, str], bytes]
"""Makes the HTTP request for a query and an id."""


@dataclass(frozen=True)
class Peer:
    """A server to be measured."""

    name: str
    command: tuple[str, ...]
    """What starts it on 127.0.0.1; the port comes behind. It finds the databases where the gateway does."""
    ask: Ask
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def _graphql(headers: Mapping[str, str]) -> Ask:
    def ask(work: Work, id_: str) -> bytes:
        body = {"query": work.document, "variables": {"id": id_} if id_ else {}}
        return http("POST", "/graphql", {"Content-Type": "application/json", **headers}, json.dumps(body).encode())

    return ask


def _by_path(work: Work, id_: str) -> bytes:
    return http("GET", f"/{work.name}/{id_}", {})


def peers(token: str) -> list[Peer]:
    """All that can be measured here, the gateway first. ``token``: an administrator's."""
    ask = _graphql({"Authorization": f"Bearer {token}"})
    # What is slow is to be measured and not to be refused.
    patient = {
        "LOG_LEVEL": "warning",
        "READ_TIMEOUT": "60",
        "STATEMENT_TIMEOUT": "60",
        "POOL_WAIT": "60",
        "MAX_COST": "500000",
    }
    found = [
        Peer(OURS, (str(Path(sys.executable).with_name("storegraph")), "serve", "--port"), ask, patient),
        Peer("the same, resolvers", (sys.executable, "-m", "bench.peers.standard"), ask, patient),
        Peer("by hand", (sys.executable, "-m", "bench.peers.floor"), _by_path),
    ]
    if shutil.which("node") and (_MERCURIUS / "node_modules").is_dir():
        # Node's room for new objects is 16 MB by default, and what 16 requests hold at a time has none in it: garbage
        # collection would take a third of the CPU.
        command = ("node", "--max-semi-space-size=64", str(_MERCURIUS / "server.mjs"))
        found.append(Peer("mercurius, JIT", command, _graphql({}), {"NODE_ENV": "production"}))
    else:
        Console(stderr=True).print(
            "*** mercurius IS NOT MEASURED: that takes Node, and its packages, which `make bench` installs.",
            style="bold red",
        )
    return found
