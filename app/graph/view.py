"""GraphQL over HTTP, and a page to explore it in a browser."""

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from cross_web import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL

from app.graph.context import Context
from app.graph.schema import Schema
from app.settings import Settings

FIRST_QUERY = """\
# The newest orders, from four databases. Ctrl-Enter runs it.
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

# GraphiQL comes from a CDN. Where that cannot be reached, this stands in for it.
_WITHOUT_CDN = Path(__file__).with_name("without_cdn.html")


class View(GraphQL[Context, None]):
    """The endpoint, as the settings say."""

    def __init__(self, schema: Schema, settings: Settings) -> None:
        super().__init__(schema, graphql_ide="graphiql" if settings.graphiql else None, subscription_protocols=())
        self._settings = settings

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        return Context(request.app.state.databases, self._settings.largest_total)

    def parse_json(self, data: str | bytes) -> Any:  # Any, as in the base class: what it returns is looked at there
        """Refuse what the base class would fail on: bytes that are no text, and JSON that is no object."""
        try:
            document = super().parse_json(data)
        except UnicodeDecodeError:
            raise HTTPException(400, "The request is not UTF-8.") from None
        if not isinstance(document, dict | list):  # a list is a batch, which is refused in words of its own
            raise HTTPException(400, "The request must be a JSON object.")
        return cast("Any", document)

    def encode_json(self, data: object) -> bytes:
        """Text as it is, in UTF-8, and not letter by letter in escapes."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        try:
            return text.encode()
        except UnicodeEncodeError:  # half a character, which only an error can hold, quoting what was sent
            return json.dumps(data, separators=(",", ":")).encode()

    async def render_graphql_ide(self, request: Request) -> Response:
        return HTMLResponse(self._page)

    @cached_property
    def _page(self) -> str:
        """Strawberry's page, with a first query of ours, and our stand-in for a browser without internet."""
        page = re.sub(
            r"const EXAMPLE_QUERY = `.*?`;",
            lambda _: f"const EXAMPLE_QUERY = `{FIRST_QUERY}`;",
            self.graphql_ide_html.replace("Strawberry GraphiQL", "storegraph"),
            flags=re.DOTALL,
        )
        return page.replace("</body>", _WITHOUT_CDN.read_text(encoding="utf-8") + "</body>")
