"""GraphiQL: the page at the endpoint for somebody who comes with a browser.

Its files come from this gateway where they are installed (``storegraph graphiql install``), and else from a CDN, each
with its hash; where neither can be had, a page of our own stands in for it.
"""

import json
import re
import secrets
from pathlib import Path

from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from app.graph.graphiql import CDN, HERE, File, files

_HEAD = """\
# Six queries to begin with. The run button offers them;
# Ctrl-Enter runs the one where the cursor is."""
_AS_DEMO = """\
# You ask as administrator. The bar above says who asks,
# and with Explain an answer tells what it cost."""
_AS_PUBLIC = """\
# What is sold is public. Orders and people are seen with
# an access token, in Headers below:
# {"Authorization": "Bearer …"}"""
_NONCE = "@nonce@"
_PUBLIC = 2, 3, 5  # of the tour


class Page:
    """The page, as an ASGI application: each time with another nonce, without which no script and no style runs."""

    def __init__(self, html: str) -> None:
        self._html = html

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        nonce = secrets.token_urlsafe(18)
        headers = {**_HEADERS, "Content-Security-Policy": _policy(nonce)}
        await HTMLResponse(self._html.replace(_NONCE, nonce), headers=headers)(scope, receive, send)


def build_page(*, folder: Path | None = None, demo: bool = False, explains: bool = False) -> Page:
    """The page.

    Args:
        folder: where GraphiQL's files are, of those that have them all; None for the CDN.
        demo: with a switch between nobody, a customer and an administrator, which ``app/demo_token.py`` serves.
        explains: with a switch that asks for ``extensions.explain``.
    """
    local = folder is not None
    origin = "this gateway" if local else CDN.removeprefix("https://")
    advice = (
        "Its files may have gone since the gateway started."
        if local
        else "The gateway can serve it itself: run <code>storegraph graphiql install</code> there, and start it anew."
    )
    bar = (_filled("viewer_switch.html") if demo else "") + (_filled("explain_switch.html") if explains else "")
    page = _filled(
        "graphiql.html",
        bar=bar,
        files="\n".join(
            [*(_style(file, local) for file in files(".css")), *(_script(file, local) for file in files(".js"))]
        ),
        origin=origin,
        stand_in=_filled("without_cdn.html", origin=origin, advice=advice),
        tour=_as_script(tour(demo=demo)),
    )
    return Page(page)


def tour(*, demo: bool) -> str:
    """What the first tab holds: the six queries, those that everybody may ask first where nobody is signed in."""
    queries = _read("graphiql_tour.graphql").strip().split("\n\n# ")
    if not demo:
        queries = [queries[place] for place in (*_PUBLIC, *(set(range(len(queries))) - {*_PUBLIC}))]
    numbered = (re.sub(r"^(# )?\d+\.", f"# {number}.", query) for number, query in enumerate(queries, 1))
    return "\n\n".join([f"{_HEAD}\n{_AS_DEMO if demo else _AS_PUBLIC}", *numbered]) + "\n"


def _style(file: File, local: bool) -> str:
    return f'<link rel="stylesheet" href="{_address(file, local)}" {_checked(file, local)}>'


def _script(file: File, local: bool) -> str:
    return f'<script defer src="{_address(file, local)}" {_checked(file, local)}></script>'


def _address(file: File, local: bool) -> str:
    return file.address if local else f"{CDN}/{file.path}"


def _checked(file: File, local: bool) -> str:
    """A browser compares what comes with the hash; for that another origin must be asked without cookies (CORS)."""
    return f'integrity="{file.integrity}" nonce="{_NONCE}"' + ("" if local else " crossorigin")


def _filled(name: str, **values: str) -> str:
    """A file with its places filled in, but for the nonce, which is another each time."""
    return re.sub(r"@([a-z_]+)@", lambda place: (values | {"nonce": _NONCE})[place[1]], _read(name))


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _as_script(text: str) -> str:
    """A text as JavaScript has it, in a page: with nothing in it that could end the script."""
    return json.dumps(text).replace("<", "\\u003c")


def _policy(nonce: str) -> str:
    """What the page may do: run what has the nonce, and talk to where it comes from.

    GraphiQL 3 has no workers. CodeMirror and React set styles by way of objects, which no policy is about, and the one
    style element that a dialog adds is given the nonce by the page: so nothing inline is allowed without it. Fonts are
    part of the style sheet.
    """
    policy = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "img-src": "'self' data:",
        "font-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in policy.items())


_HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the query
    "Vary": "Accept",
    "X-Frame-Options": "DENY",
}
