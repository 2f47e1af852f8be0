"""What an HTTP request says, taken apart: its parameters, and the media types that it takes an answer in.

GraphQL over HTTP (https://graphql.github.io/graphql-over-http/draft/), called "the specification" here. Whatever could
not be stored or written back as JSON is refused before anything looks at it.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeVar, cast
from urllib.parse import parse_qsl

from app.errors import ErrorCode
from app.graph.engine import Request

MediaType = Literal["application/json", "application/graphql-response+json", "text/html"]
JSON: MediaType = "application/json"
GRAPHQL: MediaType = "application/graphql-response+json"
HTML: MediaType = "text/html"

LONGEST_QUERY_STRING = 16_384  # bytes; proxies take 8 or 16 kB
MOST_PARAMETERS = 20  # of a query string
DEEPEST_JSON = 128  # lists and objects in each other; filters of 20 levels need a third of it

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")  # RFC 9110, section 12.4.2

Json = dict[str, Any]  # Any: what is in it has been looked at only as far as this module says
Value = TypeVar("Value")


class RefusedError(Exception):
    """A request that is not looked into any further.

    Attributes:
        status: of HTTP.
        code: of the error.
        headers: what the answer has to have on top.
    """

    def __init__(
        self, status: int, message: str, code: ErrorCode = ErrorCode.BAD_USER_INPUT, headers: Mapping[str, str] = {}
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


@lru_cache(maxsize=128)  # clients are of few kinds
def preferred(accept: str | None, offers: tuple[MediaType, ...]) -> MediaType | None:
    """The offer that an Accept header likes best (RFC 9110, section 12.5.1); None if it likes none.

    Without a header, and where ``*/*`` is the reason, ``application/json``: what clients from before the specification
    understand. Parameters other than ``q`` are not looked at: all offers are UTF-8.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = dict(_ranges(accept))

    def liking(offer: MediaType) -> tuple[float, int, bool]:
        for precision, name in ((2, offer), (1, offer.partition("/")[0] + "/*"), (0, "*/*")):
            if name in ranges:
                return ranges[name], precision, (offer == JSON) != (precision == 2)
        return 0, 0, False

    best = max(offers, key=liking)
    return best if liking(best)[0] > 0 else None


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((value.strip() for key, _, value in map(_halves, parameters) if key.strip() == "q"), "1")
        if _QUALITY.fullmatch(quality):
            yield name, min(float(quality), 1)


def _halves(parameter: str) -> tuple[str, str, str]:
    return parameter.partition("=")


def check_content_type(content_type: str | None, content_encoding: str | None) -> None:
    """Refuse a body that is not JSON in UTF-8, as it is.

    No form and no plain text, which a browser would send from any page without asking first: so there is no CSRF.

    Raises:
        RefusedError: 415.
    """
    name, *parameters = (piece.strip() for piece in (content_type or "").lower().split(";"))
    charsets = {value.strip().strip('"') for key, _, value in map(_halves, parameters) if key.strip() == "charset"}
    if name != JSON or not charsets <= {"utf-8", "utf8"}:
        raise RefusedError(415, "Send the request as JSON in UTF-8, with Content-Type: application/json.")
    if content_encoding is not None and content_encoding.strip().lower() != "identity":
        raise RefusedError(415, "Send the request as it is, without a Content-Encoding.")


def request_of_body(body: bytes) -> Request:
    """What a POST asks.

    Raises:
        RefusedError: 400, it is not a well-formed request.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise RefusedError(400, "The request is not UTF-8.") from None
    parameters = _json(text, "The request")
    if isinstance(parameters, list):
        raise RefusedError(400, "Batches are not taken: send each operation in a request of its own.")
    if not isinstance(parameters, dict):
        raise RefusedError(400, "The request must be a JSON object.")
    return _request(cast("Json", parameters), may_mutate=True)


def request_of_query_string(query_string: bytes) -> Request:
    """What a GET asks (the specification, section GET). It cannot change anything.

    Raises:
        RefusedError: 400, it is not a well-formed request; 414, it is too long.
    """
    if len(query_string) > LONGEST_QUERY_STRING:
        raise RefusedError(
            414, f"The query string has more than {LONGEST_QUERY_STRING} bytes: use POST.", ErrorCode.LIMIT_EXCEEDED
        )
    if _BAD_ESCAPE.search(query_string):
        raise RefusedError(400, "The query string has a % that two hexadecimal digits do not follow.")
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except UnicodeError:
        raise RefusedError(400, "The query string is not percent-encoded UTF-8.") from None
    except ValueError:
        raise RefusedError(400, f"The query string has more than {MOST_PARAMETERS} parameters.") from None
    parameters: Json = {name: value for name, value in pairs if value or name == "query"}
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = _json(parameters[name], name)
    for name in ("query", "operationName", "documentId"):
        _check_values(parameters.get(name), name)
    return _request(parameters, may_mutate=False)


def _request(parameters: Json, *, may_mutate: bool) -> Request:
    """The parameters as they must be. Others are reserved by the specification, and passed over."""

    def optional(name: str, type_: type[Value], what: str) -> Value | None:
        value = parameters.get(name)
        if value is not None and not isinstance(value, type_):
            raise RefusedError(400, f"{name} must be {what}.")
        return value

    request = Request(
        query=optional("query", str, "a string"),
        operation_name=optional("operationName", str, "a string"),
        variables=cast("Json | None", optional("variables", dict, "an object")),
        extensions=cast("Json | None", optional("extensions", dict, "an object")),
        document_id=optional("documentId", str, "a string"),
        may_mutate=may_mutate,
    )
    if request.query is None and not is_by_hash(request):
        raise RefusedError(400, "The request has no query.")
    return request


def is_by_hash(request: Request) -> bool:
    """Whether a request names its document by a hash: by ``documentId``, or as Apollo's clients do."""
    return request.document_id is not None or "persistedQuery" in (request.extensions or {})


def _json(text: str, what: str) -> object:
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise RefusedError(400, _TOO_DEEP.format(what)) from None
    except ValueError:  # also of a number with thousands of digits
        raise RefusedError(400, f"{what} is not JSON.") from None
    # Only an escape can make half a character or a NUL. Most requests have neither, nor this much in each other.
    if "\\u" in text or text.count("[") + text.count("{") > DEEPEST_JSON:
        _check_values(value, what)
    return value


_TOO_DEEP = "{} has too many lists and objects in each other."


def _refuse_number(_: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_number, parse_float=_finite)


def _check_values(value: object, what: str) -> None:
    """Refuse U+0000, which PostgreSQL cannot store, lone surrogates, which are no text, and what is too deep."""
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST_JSON:
            raise RefusedError(400, _TOO_DEEP.format(what))
        if isinstance(value, str):
            if _UNSTORABLE.search(value):
                raise RefusedError(400, f"{what} holds U+0000 or half a character (a lone surrogate).")
        elif isinstance(value, dict):
            for key, inner in cast("Json", value).items():
                waiting += ((key, depth), (inner, depth + 1))
        elif isinstance(value, list):
            waiting += ((inner, depth + 1) for inner in cast("list[object]", value))
