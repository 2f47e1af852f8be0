"""``storegraph monitor explain``: runs a query, and has PostgreSQL tell how it goes about each of its statements."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from app.database import Databases, Transaction
from app.domains.users import writes
from app.errors import OperationError
from app.graph.context import Context, Services, count_statement
from app.graph.engine import Answer, Engine, MutationOverGetError, Request
from app.graph.explain import Explained, Sent
from app.graph.schema import build_schema
from app.identity.sessions import Identity
from app.settings import Settings
from app.viewer import NOBODY, Role, Viewer

PlanNode = dict[str, Any]
"""A node of a plan, as EXPLAIN (FORMAT JSON) prints it."""

_PARTITIONS = """
SELECT of.inhparent::regclass::text AS parent, of.inhrelid::regclass::text AS partition
FROM pg_inherits of JOIN pg_class parent ON parent.oid = of.inhparent WHERE parent.relkind = 'p'
"""
# EXPLAIN of a statement with parameters would plan for their values. What the gateway runs is a prepared statement's
# generic plan; and EXECUTE takes no parameters from outside, so they are written out.
_TYPES = "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = $1"


@dataclass(frozen=True)
class Partitions:
    """Of one partitioned table."""

    table: str
    touched: tuple[str, ...]
    there_are: int


@dataclass(frozen=True)
class Planned:
    """A statement, and how PostgreSQL goes about it when it is run once more."""

    sent: Sent
    plan: PlanNode
    planning_milliseconds: float
    execution_milliseconds: float
    buffers_hit: int
    """Pages of 8 kB that were in the server's memory."""
    buffers_read: int
    """Pages that were not."""
    partitions: tuple[Partitions, ...]


@dataclass(frozen=True)
class Explanation:
    """A query that was run, with its statements in the order in which they were sent."""

    operation: str | None
    viewer: str
    """The role; nobody without one."""
    executor: str
    """``plan`` or ``resolvers``."""
    errors: tuple[str, ...]
    """Of the answer: what failed has no statement, or one without a plan."""
    statements: tuple[Planned, ...]


async def explain(
    settings: Settings,
    query: str,
    *,
    variables: Mapping[str, Any] | None = None,  # whatever JSON holds
    operation: str | None = None,
    role: Role | None = None,
) -> Explanation:
    """Run a query in this process, and each of its statements once more under EXPLAIN (ANALYZE, BUFFERS).

    Args:
        settings: the gateway's own; EXPLAIN itself need not be on.
        query: a document, with ``operation`` to name one of several.
        variables: of the operation.
        role: whose oldest active user asks; nobody without one.

    Raises:
        OperationError: the query is refused, would change something, or nobody has the role.
        DatabaseUnavailableError, DatabaseTimeoutError: a database does not answer, or not in time.
    """
    # Whoever runs this has the databases' URLs. A statement is given the time that a query of theirs may take by hand.
    patient = settings.model_copy(
        update={"trusted_documents": "off", "read_timeout": 60.0, "statement_timeout": 60.0, "write_timeout": 120.0}
    )
    async with Databases.opened(patient, count_statement) as databases:
        identity = Identity(databases, patient)
        try:
            viewer = NOBODY if role is None else await _oldest(databases, role)
            services = Services(databases, patient, identity)
            request = Request(query, operation, variables, may_mutate=False)
            answer, explained = await _answer(services, viewer, request)
            planned = [await _planned(databases, sent, number) for number, sent in enumerate(_in_order(explained))]
        finally:
            identity.close()
    executor, errors = "plan" if answer.is_compiled else "resolvers", tuple(_lines(answer))
    return Explanation(answer.operation_name, role or "nobody", executor, errors, tuple(planned))


async def _answer(services: Services, viewer: Viewer, request: Request) -> tuple[Answer, Explained]:
    """Run it twice: the first time, most of what a statement takes is to make its connection and to prepare it."""
    engine, explained = Engine(build_schema(), services.settings), Explained()
    try:
        answer = await engine.answer(request, Context(services, viewer))
        if not answer.refused:
            context = Context(services, viewer)
            context.loaders.explained = explained = Explained()
            answer = await engine.answer(request, context)
    except MutationOverGetError:
        raise OperationError("a mutation is not run here: it would change something") from None
    if answer.refused:
        raise OperationError("\n".join(_lines(answer)))
    return answer, explained


async def _oldest(databases: Databases, role: Role) -> Viewer:
    async def find(transaction: Transaction) -> Viewer:
        account = await writes.oldest_account(transaction, role)
        if account is None:
            raise OperationError(f"no active user has the role {role}")
        return Viewer(account.user, None, role)

    return await databases["users"].write(find)


def _in_order(explained: Explained) -> list[Sent]:
    return sorted(explained.sent, key=lambda of: of.started_after)


def _lines(answer: Answer) -> Iterator[str]:
    for error in cast("list[dict[str, Any]]", answer.body.get("errors", [])):
        path = ".".join(map(str, error.get("path", ())))
        yield f"{path}: {error['message']}" if path else str(error["message"])


async def _planned(databases: Databases, sent: Sent, number: int) -> Planned:
    """Run a statement under EXPLAIN, in a transaction that can change nothing."""
    name = f"explained_{number}"  # it stays prepared, which ends with this process's connection

    async def work(transaction: Transaction) -> Planned:
        await transaction.execute("SET TRANSACTION READ ONLY")
        await transaction.execute(f"PREPARE {name} AS {sent.sql}")
        types: list[str] = await transaction.fetchval(_TYPES, name)
        values = await _literals(transaction, types, sent.arguments)
        text = await transaction.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {name}{values}")
        parents = {row["partition"]: row["parent"] for row in await transaction.fetch(_PARTITIONS)}
        return _read(sent, json.loads(text)[0], parents)

    return await databases[sent.database].write(work)


async def _literals(transaction: Transaction, types: list[str], arguments: tuple[object, ...]) -> str:
    """The arguments as PostgreSQL itself writes them: ``('{1,2}'::integer[], NULL::text)``; nothing without any."""
    if not types:
        return ""
    quoted = ", ".join(f"quote_nullable(${i}::{type_}::text)" for i, type_ in enumerate(types, 1))
    row = await transaction.fetchrow(f"SELECT {quoted}", *arguments)
    cells: list[str] = list(row or ())
    return f"({', '.join(f'{cell}::{type_}' for cell, type_ in zip(cells, types, strict=True))})"


def _read(sent: Sent, explained: dict[str, Any], parents: Mapping[str, str]) -> Planned:
    plan: PlanNode = explained["Plan"]
    names = {node["Relation Name"] for node in run(plan) if "Relation Name" in node}
    partitions = tuple(
        Partitions(
            table,
            tuple(sorted(name for name in names if parents.get(name) == table)),
            sum(parent == table for parent in parents.values()),
        )
        for table in sent.tables
        if table in parents.values()
    )
    return Planned(
        replace(sent, sql=" ".join(sent.sql.split())),
        plan,
        explained["Planning Time"],
        explained["Execution Time"],
        plan["Shared Hit Blocks"],
        plan["Shared Read Blocks"],
        partitions,
    )


def run(node: PlanNode) -> Iterator[PlanNode]:
    """The nodes of a plan that were run at all."""
    if node["Actual Loops"]:
        yield node
    for child in node.get("Plans", ()):
        yield from run(child)
