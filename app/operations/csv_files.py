"""CSV files (RFC 4180): their header, their way into a table by COPY, and the line where a refused record begins.

PostgreSQL parses the rows. Only after an error is the file read here as records too, to find the culprit's line: COPY
counts where a record ends, and a line break in quotes not at all where it differs from the file's own.
"""

import asyncio
import csv
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection
from app.operations.progress import Bar

_CHUNK = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Before PostgreSQL 18 this line ends the data of a COPY, and all rows after it are silently left out.
_END_OF_DATA = re.compile(rb"[\r\n]\\\.[\r\n]")


class Record(NamedTuple):
    """One record of a file."""

    number: int
    """From 1, without the header."""
    line: int
    """Where it begins, from 1, the header's lines included."""
    copy_line: int
    """Where it ends, as COPY counts."""
    fields: list[str]


@dataclass(frozen=True)
class CsvFile:
    """A file whose header has been read."""

    path: Path
    columns: tuple[str, ...]

    async def copy_into(self, connection: Connection, table: str, bar: Bar) -> int:
        """COPY the file into a table and return how many rows that were.

        Raises:
            OperationError: PostgreSQL refused a row. The transaction cannot go on.
        """
        try:
            async with aclosing(_chunks(self.path, bar)) as source:
                status = await connection.copy_to_table(
                    table, source=source, columns=self.columns, format="csv", header=True, encoding="utf-8"
                )
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError) as error:
            # The table may be a temporary one, whose name says nothing to the reader.
            why = _reason(error).replace(f'"{table}"', f'"{self.path.stem}"')
            raise at_line(self.path, self._line_of(error), why) from None
        return int(status.removeprefix("COPY "))

    def line_of(self, number: int) -> int | None:
        """The line where a record begins, by its number."""
        return next((record.line for record in self._records() if record.number == number), None)

    def _line_of(self, error: asyncpg.PostgresError) -> int | None:
        # Both patterns hold in every language that the server may speak.
        if found := re.search(r"COPY\D*(\d+)", str(error.context)):
            counted = int(found[1])
            return next((record.line for record in self._records() if record.copy_line == counted), counted)
        # Foreign keys are checked after the last row, so there is no line, but the key: "Key (user_id)=(…) is not …".
        found = re.search(r"\((\w+)\)=\(([0-9a-f-]{36})\)", str(error.detail))
        if found is None or found[1] not in self.columns:
            return None
        position, key = self.columns.index(found[1]), UUID(found[2])
        rows = (record for record in self._records() if len(record.fields) > position)
        return next((record.line for record in rows if _as_uuid(record.fields[position]) == key), None)

    def _records(self) -> Generator[Record]:
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            # COPY counts those line breaks in quotes that begin as the file's own do.
            counted = "\r" if "\r" in file.readline() else "\n"
            file.seek(0)
            reader = csv.reader(file)
            line, copy_line = 1, 0
            try:
                for number, fields in enumerate(reader):
                    copy_line += 1 + sum(field.count(counted) for field in fields)
                    if number:
                        yield Record(number, line, copy_line, fields)
                    line = reader.line_num + 1
            except csv.Error:
                return  # a field over 128 kB: what comes after it is not found


async def _chunks(path: Path, bar: Bar) -> AsyncGenerator[bytes]:
    """The bytes of a file without its byte order mark.

    Raises:
        OperationError: a line that PostgreSQL would take for the end of the data.
    """
    file = await asyncio.to_thread(path.open, "rb")
    with file:
        if await asyncio.to_thread(file.read, len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
            file.seek(0)
        lines, end = 0, b""  # of what has been sent: the last bytes, and how many lines there are before them
        while True:
            chunk = await asyncio.to_thread(file.read, _CHUNK)
            text = end + (chunk or b"\n")
            if found := _END_OF_DATA.search(text):
                line = lines + text.count(b"\n", 0, found.start() + 1) + 1
                raise at_line(path, line, "nothing but \\., which ends the data of a COPY; put it in quotes")
            if not chunk:
                return
            yield chunk
            bar.advance(len(chunk))
            kept = max(len(text) - 4, 0)
            lines, end = lines + text.count(b"\n", 0, kept), text[kept:]


def read_header(path: Path) -> CsvFile:
    """Read the first record of a file: the names of its columns.

    Raises:
        OperationError: the file cannot be read, is not UTF-8, has no header, or names a column twice.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            columns = tuple(next(csv.reader(file), ()))
    except OSError as error:
        raise OperationError(f"{path}: cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise at_line(path, 1, str(error)) from None
    if not columns:
        raise at_line(path, 1, "no header: the first line must name the columns")
    if "\ufffd" in "".join(columns):
        raise at_line(path, 1, "not UTF-8")
    if twice := next((column for column in columns if columns.count(column) > 1), None):
        raise at_line(path, 1, f'column "{twice}" is there twice')
    return CsvFile(path, columns)


def at_line(path: Path, line: int | None, why: str) -> OperationError:
    """An error in a file. Without a line it concerns the whole of it, or the line could not be found."""
    return OperationError(f"{path}, line {line}: {why}" if line else f"{path}: {why}")


def _reason(error: asyncpg.PostgresError) -> str:
    """What PostgreSQL says, with the column where it names one, and not the rest of the row, which may be secret."""
    column = re.search(r"COPY \S+, \S+ \d+, \S+ (\w+)", str(error.context))
    said = f"{column[1]}: {error.message}" if column else str(error.message)
    shows_the_row = isinstance(error, asyncpg.CheckViolationError | asyncpg.NotNullViolationError)
    return said if shows_the_row or not error.detail else f"{said}. {error.detail}"


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
