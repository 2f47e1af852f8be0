"""The closed list of errors that a client or an operator can meet, and their codes.

An ``AppError`` is one that we raise on purpose: its message is written for whoever reads it and never holds SQL, a
driver's text or a path. Anything else that escapes is a fault of ours and is masked before it leaves the process.
"""

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Every value that ``extensions.code`` can have."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    CONFLICT = "CONFLICT"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    FORBIDDEN = "FORBIDDEN"
    INTERNAL = "INTERNAL"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    RATE_LIMITED = "RATE_LIMITED"
    TIMEOUT = "TIMEOUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"


class AppError(Exception):
    """An error with a code of the closed list and a message fit for its reader."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL


class BadUserInputError(AppError):
    """What was asked for is malformed; the message says what and how to mend it."""

    code = ErrorCode.BAD_USER_INPUT


class UnauthenticatedError(AppError):
    """Who asks is not signed in, or proved wrongly who they are."""

    code = ErrorCode.UNAUTHENTICATED


class ForbiddenError(AppError):
    """Who asks is signed in, and may not have this."""

    code = ErrorCode.FORBIDDEN


class LimitExceededError(AppError):
    """The request asks for more than one request may; the message says of what, how much, and how much it may be."""

    code = ErrorCode.LIMIT_EXCEEDED


class TooLargeError(LimitExceededError):
    """What came back is more than one answer may hold: nothing of it is sent."""


class RateLimitedError(AppError):
    """Too many requests of a kind; the message says when to come again."""

    code = ErrorCode.RATE_LIMITED


class NotFoundError(AppError):
    """What was asked for by its id is not there."""

    code = ErrorCode.NOT_FOUND


class ConflictError(AppError):
    """The change contradicts what is stored."""

    code = ErrorCode.CONFLICT


class DatabaseUnavailableError(AppError):
    """A database refused, dropped or never answered a connection."""

    code = ErrorCode.DATABASE_UNAVAILABLE

    def __init__(self, database: str) -> None:
        super().__init__(f"The {database} database does not answer.")
        self.database = database


class DatabaseTimeoutError(AppError):
    """A statement took longer than its limit."""

    code = ErrorCode.TIMEOUT

    def __init__(self, database: str) -> None:
        super().__init__(f"The {database} database took too long to answer.")
        self.database = database


class MissingPartitionError(ConflictError):
    """A row of a time for which no partition exists."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"{table} has no partition for the time of this row: make it with "
            "`storegraph partitions ensure --from DATE --to DATE`."
        )


class OperationError(AppError):
    """What an operator asked of the command line cannot be done; the message says why and what to do."""
