"""Errors as clients see them: a message, a path and a code of the closed list. Whatever else was raised is masked."""

import logging
from collections.abc import Iterator
from typing import cast
from uuid import uuid4

from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.schema import BaseSchema

from app.errors import AppError, ErrorCode

log = logging.getLogger(__name__)
LONGEST_LINE = 200


class MaskErrors(SchemaExtension):
    """Gives each error of an answer its code, and hides the text of those that we did not raise on purpose."""

    def on_operation(self) -> Iterator[None]:
        yield
        context = self.execution_context
        result = context.result
        if result is not None and result.errors:
            hides = cast("BaseSchema", context.schema).config.disable_field_suggestions
            result.errors = [_coded(error, hide_suggestions=hides) for error in result.errors]


def _coded(error: GraphQLError, *, hide_suggestions: bool) -> GraphQLError:
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, AppError):
        return _with(error, str(cause), {"code": cause.code})
    if cause is None or (isinstance(cause, GraphQLError) and (cause.nodes or error.path is None)):
        # graphql-core's own: the document, a variable or an argument is wrong. What it says of a value that we
        # answered with (one that is no Int, say) has a path but names no place in the document: a fault of ours.
        message = error.message.partition(" Did you mean ")[0] if hide_suggestions else error.message
        return _with(error, message, {"code": ErrorCode.BAD_USER_INPUT})
    error_id = uuid4().hex
    log.error("%s %s: %s", error_id, type(cause).__name__, str(cause).replace("\n", " ")[:LONGEST_LINE])
    return _with(error, "Something went wrong on our side.", {"code": ErrorCode.INTERNAL, "errorId": error_id})


def _with(error: GraphQLError, message: str, extensions: dict[str, str]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=dict(extensions),
    )
