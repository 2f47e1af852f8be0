"""GraphiQL: the page at the endpoint for somebody who comes with a browser."""

import base64
import hashlib
import re
from pathlib import Path

from starlette.responses import HTMLResponse
from strawberry.http.ides import get_graphql_ide_html

PUBLIC_QUERY = """\
# What the shop sells, cheapest first. Ctrl-Enter runs it.
# Orders and people are seen with an access token, as in Headers below: {"Authorization": "Bearer eyJ..."}
{
  products(first: 3, orderBy: [{price: ASC}]) {
    totalCount
    nodes {
      name
      price
      category { name ancestors { name } }
    }
  }
}
"""
DEMO_QUERY = """\
# The newest orders, from four databases. Ctrl-Enter runs it.
# Ask as a customer, and these are the customer's own.
{
  orders(first: 3) {
    totalCount
    nodes {
      createdAt
      status
      totalAmount
      user { firstName lastName orderStats { orderCount } }
      shippingAddress { city country }
      items {
        quantity
        lineTotal
        product { name category { name ancestors { name } } }
      }
      payments { amount status }
    }
  }
}
"""

_CDN = "https://unpkg.com"
_HERE = Path(__file__).parent

Page = HTMLResponse


def build_page(*, demo: bool) -> Page:
    """Strawberry's page with a first query of ours, and our stand-in for a browser without internet.

    Args:
        demo: with a switch between nobody, a customer and an administrator, which ``app/demo_token.py`` serves.

    Raises:
        ValueError: Strawberry's page is no longer what this was written for.
    """
    page = get_graphql_ide_html("graphiql").replace("Strawberry GraphiQL", "storegraph")
    page = _replaced(
        page, r"const EXAMPLE_QUERY = `[^`]*`;", f"const EXAMPLE_QUERY = `{DEMO_QUERY if demo else PUBLIC_QUERY}`;"
    )
    # A token must not stay behind in localStorage.
    page = _replaced(page, r"shouldPersistHeaders: true", "shouldPersistHeaders: false")
    if demo:
        page = _replaced(page, r"<body>", "<body>\n" + _read("viewer_switch.html"))
        page = _replaced(page, r"url: fetchURL,", "url: fetchURL,\n        fetch: window.fetchAsViewer,")
    # GraphiQL comes from a CDN. Where that cannot be reached, this stands in for it.
    page = _replaced(page, r"</body>", _read("without_cdn.html") + "</body>")
    return HTMLResponse(page, headers=_headers(page))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _replaced(page: str, pattern: str, text: str) -> str:
    replaced, count = re.subn(pattern, lambda _: text, page)
    if count != 1:
        raise ValueError(f"Strawberry's page has {pattern} {count} times")
    return replaced


def _headers(page: str) -> dict[str, str]:
    """What the page may do: run the scripts that are in it and those of the CDN, and talk to where it comes from."""
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in inline]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", _CDN, *hashes]),
        "style-src": f"'self' 'unsafe-inline' {_CDN}",  # CodeMirror sets styles on its elements
        "img-src": "'self' data:",
        "font-src": f"'self' data: {_CDN}",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",  # the address holds the query
        "Vary": "Accept",
        "X-Frame-Options": "DENY",
    }
