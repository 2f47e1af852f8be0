"""Errors as clients see them: a message, a path and a code of the closed list. Whatever else was raised is masked."""

import logging
import re
from dataclasses import dataclass, field
from uuid import uuid4

from graphql import GraphQLError, GraphQLFormattedError

from app import logs
from app.errors import AppError, DatabaseUnavailableError, ErrorCode

log = logging.getLogger(__name__)
LONGEST_MESSAGE = 500
"""Characters. graphql-core's own messages can repeat a value that was sent, at whatever length it was sent."""

_FOUND = re.compile(r"(?:, found|(?<=\?) Found): .*", re.DOTALL)
_NOT_REPRESENTED = re.compile(
    r"(?P<what>cannot represent [a-z0-9 -]{0,40}value): .*?"
    r"(?P<hint>\. Did you mean the enum values? (?:'\w+'|, |,? or )+\?)?\Z",
    re.DOTALL,
)
_NOT_NULL = re.compile(r"\bnot to be None\.\Z")


@dataclass
class Errors:
    """The errors of one answer, as they are told, and what they say about it as a whole."""

    formatted: list[GraphQLFormattedError] = field(default_factory=list[GraphQLFormattedError])
    codes: set[ErrorCode] = field(default_factory=set[ErrorCode])
    missing: set[str] = field(default_factory=set[str])
    """The databases that did not answer."""

    def add(self, error: GraphQLError) -> None:
        """Give an error its code. One that we did not raise on purpose is masked, and logged without its text."""
        cause = _cause(error)
        if isinstance(cause, DatabaseUnavailableError):
            self.missing.add(cause.database)
        if isinstance(cause, AppError):
            self._tell(error, str(cause), cause.code)
        elif cause is None or (isinstance(cause, GraphQLError) and (cause.nodes or error.path is None)):
            # graphql-core's own: the document, a variable or an argument is wrong. What it says of a value that we
            # answered with (one that is no Int, say) has a path but names no place in the document: a fault of ours.
            self._tell(error, _in_words_of_graphql(error.message), ErrorCode.BAD_USER_INPUT)
        else:
            error_id = uuid4().hex
            log.error("something went wrong on our side", extra={"error_id": error_id, **logs.fault(cause)})
            self._tell(error, "Something went wrong on our side.", ErrorCode.INTERNAL, errorId=error_id)

    def _tell(self, error: GraphQLError, message: str, code: ErrorCode, **more: str) -> None:
        if len(message) > LONGEST_MESSAGE:
            message = message[:LONGEST_MESSAGE] + "…"
        if code is not ErrorCode.INTERNAL:
            # Not the message, which can repeat what is in the document.
            log.debug("%s: %s", code, type(_cause(error) or error).__name__)
        told = GraphQLError(
            message,
            nodes=error.nodes,
            source=error.source,
            positions=error.positions,
            path=error.path,
            extensions={"code": str(code), **more},
        )
        self.codes.add(code)
        self.formatted.append(told.formatted)


def _in_words_of_graphql(message: str) -> str:
    """A message of graphql-core's without the values in it, which it prints as Python would: None, True, {'eq': 1}.

    What was sent, the client knows, and where it stands is in the message or its locations.
    """
    message = _FOUND.sub(lambda match: "" if match[0].startswith(" ") else ".", message, count=1)
    message = _NOT_REPRESENTED.sub(lambda match: match["what"] + (match["hint"] or "."), message, count=1)
    return _NOT_NULL.sub("not to be null.", message)


def _cause(error: GraphQLError) -> BaseException | None:
    """What was raised in the first place; graphql-core wraps it as often as it passes it on."""
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause
