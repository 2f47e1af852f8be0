"""Runs one request: all that can be refused before it is executed, cheapest first, and then the operation."""

import asyncio
import gc
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    Node,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    parse,
    specified_rules,
    validate,
)
from graphql.execution import ExecutionResult
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues, get_variable_values
from graphql.language.ast import QUERY_DOCUMENT_KEYS
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry import Schema
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.errors import AppError, BadUserInputError, ErrorCode, LimitExceededError, TooLargeError
from app.graph import explain
from app.graph.context import Context, counting
from app.graph.guard.cost import COUNTED, check_cost
from app.graph.guard.documents import TrustedDocuments
from app.graph.guard.errors import Errors
from app.graph.guard.limits import MAX_ERRORS, check_limits, check_text, check_variables
from app.graph.guard.turns import Turns
from app.graph.plan.compiler import compiled
from app.graph.plan.plan import Plan
from app.metrics import NONE, DocumentFigures
from app.settings import Settings
from app.viewer import NOBODY

T = TypeVar("T")

DOCUMENTS_KEPT = 128
"""How many documents are kept as they were parsed and checked: that takes longer than to run most of them."""
LONGEST_KEPT = 4_000
"""Characters. Longer documents are not kept, so that nobody fills the memory with them, and the garbage collector's."""
KEPT_OF_EACH = 16
"""How many plans and costs are kept of one document: there is one for each of its operations, and for what the
variables make of it."""


class MutationOverGetError(Exception):
    """A GET that would change something (GraphQL over HTTP, section 6.2.1)."""


@dataclass(frozen=True)
class Request:
    """A well-formed request (GraphQL over HTTP, section 5)."""

    query: str | None = None
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None
    document_id: str | None = None
    may_mutate: bool = True
    """Not over GET."""


@dataclass(frozen=True)
class Answer:
    """What to send, and what the protocol and the log have to know about it."""

    body: dict[str, object]
    """``data``, ``errors`` and ``extensions``. No ``data`` where nothing was executed. They can be ``Json``."""
    refused: bool
    """Whether nothing was executed."""
    operation: str = NONE
    """query, mutation or subscription."""
    operation_name: str | None = None
    codes: frozenset[ErrorCode] = field(default_factory=frozenset[ErrorCode])
    is_compiled: bool = False
    """Whether a plan ran it, and not resolvers."""
    cacheable: bool = False
    """Whether everybody who is not signed in would get this answer."""


class _InvalidError(Exception):
    """The document, or the variables, are not of the schema."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        self.errors = errors


@dataclass(frozen=True)
class _Prepared:
    """An operation that may run. ``executor`` is graphql-core's (Any: its type parameters are left open there)."""

    operation: OperationDefinitionNode
    cost: int
    values: VariableValues
    plan: Plan | None
    executor: Any


@dataclass(frozen=True, eq=False)
class _Document:
    """A document that is valid, and what was worked out about its operations.

    A plan depends on the operation and on the values of ``conditions``: the variables that a ``@skip`` or an
    ``@include`` anywhere in the document depends on. A cost depends on those that are the value of any of ``COUNTED``
    arguments as well. Neither depends on who asks.
    """

    node: DocumentNode
    conditions: tuple[str, ...]
    counted: tuple[str, ...]
    plans: dict[tuple[object, ...], Plan | None] = field(default_factory=dict[tuple[object, ...], Plan | None])
    costs: dict[tuple[object, ...], int] = field(default_factory=dict[tuple[object, ...], int])


class Engine:
    """The schema, and the limits within which it is asked."""

    def __init__(self, schema: Schema, settings: Settings, *, compiles: bool = True) -> None:
        """``compiles``: whether what can be is run by a plan, or all by resolvers, as the benchmarks compare them.

        Raises:
            OperationError: the manifest of trusted documents cannot be used.
        """
        self._compiles = compiles
        self._strawberry = schema
        # Private, and the only way to graphql-core's own schema.
        self._schema: GraphQLSchema = schema._schema  # pyright: ignore[reportPrivateUsage]
        self._executor = cast("Any", _Executor)  # Any: its type parameters are left open in graphql-core
        self._settings = settings
        self._trusted = TrustedDocuments.load(settings)
        self._kept: OrderedDict[str, _Document] = OrderedDict()
        self.figures = DocumentFigures()
        self._turns = Turns()
        self._hides = not settings.introspection
        self._rules = [*specified_rules, *(() if settings.introspection else (NoSchemaIntrospectionCustomRule,))]
        # Of the process: graphql-core has no parameter for it. At its own default the rule takes seconds.
        overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = settings.validation_budget

    async def answer(self, request: Request, context: Context) -> Answer:
        """Run a request. Whatever goes wrong is told in the answer.

        Raises:
            MutationOverGetError: it is a mutation and may not be one.
        """
        counting.set(context.statements)
        explain.begin(context, request)
        errors = Errors()
        try:
            prepared = await self._prepare(request, context)
        except (AppError, GraphQLError, _InvalidError) as error:
            for refusal in _told(error):
                errors.add(refusal)
            return Answer({"errors": errors.formatted}, refused=True, codes=frozenset(errors.codes))
        data, found = await self._run(prepared, context)
        for error in found:
            errors.add(error)
        return self._answer(request, context, prepared, data, errors)

    async def _run(self, prepared: _Prepared, context: Context) -> tuple[object, list[GraphQLError]]:
        try:
            if prepared.plan is not None:
                return await prepared.plan.run(context, prepared.values)
            # What introspection asks is made at once, without letting anybody else work in between.
            async with self._turns.taken(prepared.cost // 10):
                result = prepared.executor.execute_operation()
            if not isinstance(result, ExecutionResult):
                result = await _stoppable(result, context)
        except TooLargeError as error:
            return None, _told(error)
        return result.data, result.errors or []

    def _answer(self, request: Request, context: Context, prepared: _Prepared, data: object, errors: Errors) -> Answer:
        extensions = explain.extensions(context)
        if errors.missing:
            extensions["databases"] = dict.fromkeys(sorted(errors.missing), "unavailable")
        if (request.extensions or {}).get("cost") is True:
            extensions["cost"] = {"cost": prepared.cost, "limit": self._settings.max_cost}
        body = ({"errors": errors.formatted} if errors.formatted else dict[str, object]()) | {"data": data}
        if extensions:
            body["extensions"] = extensions
        operation = prepared.operation
        return Answer(
            body,
            refused=False,
            operation=operation.operation.value,
            operation_name=_name(operation),
            codes=frozenset(errors.codes),
            is_compiled=prepared.plan is not None,
            cacheable=operation.operation is OperationType.QUERY and context.viewer == NOBODY and not errors.codes,
        )

    async def _prepare(self, request: Request, context: Context) -> _Prepared:
        variables = dict(request.variables or {})
        check_variables(variables, self._settings)
        text = self._trusted.resolve(request.query, request.extensions, request.document_id)
        document = await self._document(text)
        operation = _chosen(document.node, request.operation_name)
        if operation.operation is OperationType.MUTATION and not request.may_mutate:
            raise MutationOverGetError
        cost = self._cost(document, operation, variables)
        values = get_variable_values(
            self._schema, operation.variable_definitions or (), variables, MAX_ERRORS, self._hides
        )
        if isinstance(values, list):
            raise _InvalidError(values)
        if (plan := self._plan(document, operation, values)) is not None:
            return _Prepared(operation, cost, values, plan, None)
        context.resolves(changes=operation.operation is OperationType.MUTATION)
        executor: Any = self._executor.build(
            self._schema,
            document.node,
            context_value=context,
            raw_variable_values=variables,
            operation_name=request.operation_name,
            is_awaitable=optimized_is_awaitable,
            hide_suggestions=self._hides,
        )
        return _Prepared(operation, cost, values, None, executor)

    def _cost(self, document: _Document, operation: OperationDefinitionNode, variables: Mapping[str, object]) -> int:
        key = (_name(operation), *(_as_counted(variables.get(name, ...)) for name in document.counted))
        if (known := document.costs.get(key)) is not None:
            return known
        cost = check_cost(self._schema, document.node, operation, variables, self._settings)
        _keep(document.costs, key, cost)
        return cost

    def _plan(self, document: _Document, operation: OperationDefinitionNode, values: VariableValues) -> Plan | None:
        if not self._compiles:
            return None
        # One that is no boolean is another operation's condition, and not this one's.
        given = (values.coerced.get(name) for name in document.conditions)
        key = (_name(operation), *(value if isinstance(value, bool) else None for value in given))
        if key in document.plans:
            return document.plans[key]
        fragments = {
            node.name.value: FragmentDetails(node)
            for node in document.node.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        given = (self._strawberry, self._schema, operation, fragments, values, self._settings.largest_total)
        root = compiled(*given)
        self.figures.compiled += root is not None
        self.figures.declined += root is None
        apart = compiled(*given, joins=False) if root and root.has_joins else None
        return _keep(document.plans, key, root and Plan(root, apart))

    async def _document(self, text: str) -> _Document:
        if (kept := self._kept.get(text)) is not None:
            self._kept.move_to_end(text)
            self.figures.found += 1
            return kept
        async with self._turns.taken(len(text)):
            if (kept := self._kept.get(text)) is not None:  # another request made it while this one waited
                self.figures.found += 1
                return kept
            self.figures.checked += 1
            try:
                document = self._check(text)
            finally:
                # Validation leaves thousands of objects in cycles. While they are young that takes 10 ms; collected
                # later, together with those of other documents, it would stop the process for half a second.
                gc.collect(0)
        if len(text) <= LONGEST_KEPT:
            self._kept[text] = document
            if len(self._kept) > DOCUMENTS_KEPT:
                self._kept.popitem(last=False)
            self.figures.kept = len(self._kept)
        return document

    def _check(self, text: str) -> _Document:
        """Everything about a document that depends neither on who asks nor on variables."""
        check_text(text, self._settings)
        document = self._parsed(text)
        check_limits(document, self._settings)
        if errors := validate(self._schema, document, self._rules, MAX_ERRORS, hide_suggestions=self._hides):
            if errors[-1].message == "Validation aborted.":  # all by which graphql-core says that its budget is spent
                raise LimitExceededError(
                    "Too many fields of the document have one name in one place, each to be compared with the others: "
                    "select a field once, and spread fewer fragments in one place."
                )
            raise _InvalidError(errors)
        return _Document(document, *_variables(document))

    def _parsed(self, text: str) -> DocumentNode:
        most = self._settings.max_tokens
        try:
            document = parse(text, max_lexical_tokens=most, max_comments=most)
        except GraphQLSyntaxError as error:
            if "Document contains more than" in error.message:  # all by which graphql-core tells it from another
                raise LimitExceededError(f"The document has more than {most:,} tokens, or comments.") from None
            raise
        # Its tokens are a list with links both ways, so that nothing but a garbage collection would free them.
        token = document.loc and document.loc.start_token
        while token:
            token.prev, token.next, token = None, None, token.next
        return document


class _Executor(StrawberryGraphQLCoreExecutionContext):
    """Strawberry's, but that it stops at too many errors: there can be one for each value of the answer."""

    def handle_field_error(self, raw_error: Exception, *args: Any, **kwargs: Any) -> None:
        context = cast("Context", self.context_value)
        if isinstance(raw_error, TooLargeError):
            context.stop(raw_error)
        context.fails()
        super().handle_field_error(raw_error, *args, **kwargs)  # pyright: ignore[reportUnknownMemberType]


async def _stoppable(execution: Coroutine[Any, Any, ExecutionResult], context: Context) -> ExecutionResult:
    """Await what resolvers make, unless they are stopped.

    Raises:
        TooLargeError: they were.
    """
    task = asyncio.create_task(execution)
    stopped: list[TooLargeError] = []

    def stop(error: TooLargeError) -> None:
        stopped.append(error)
        task.cancel()

    context.stopped_by(stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise stopped[0] from None
        raise
    finally:
        task.cancel()


def _variables(document: DocumentNode) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The variables that any ``@skip`` or ``@include`` depends on; and those that a cost does, which are these too."""
    conditions: set[str] = set()
    counted: set[str] = set()
    waiting: list[Node] = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, DirectiveNode) and node.name.value in ("skip", "include"):
            conditions |= {of.value.name.value for of in node.arguments or () if isinstance(of.value, VariableNode)}
        if isinstance(node, ArgumentNode) and node.name.value in COUNTED and isinstance(node.value, VariableNode):
            counted.add(node.value.name.value)
        for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()):
            below: Node | tuple[Node, ...] | None = getattr(node, key)
            waiting.extend((below,) if isinstance(below, Node) else below or ())
    return tuple(sorted(conditions)), tuple(sorted(counted | conditions))


def _name(operation: OperationDefinitionNode) -> str | None:
    return operation.name.value if operation.name else None


def _as_counted(value: object) -> object:
    """As much of a variable's value as a cost depends on. 1, 1.0 and true are one key to Python, and not to a cost."""
    if isinstance(value, list):
        return len(cast("list[object]", value))
    return (type(value), value) if isinstance(value, int | float) else type(value)


def _keep(known: dict[tuple[object, ...], T], key: tuple[object, ...], value: T) -> T:
    """Add to what is known of a document, and forget the rest where it gets too much."""
    if len(known) == KEPT_OF_EACH:
        known.clear()
    known[key] = value
    return value


def _told(error: AppError | GraphQLError | _InvalidError) -> list[GraphQLError]:
    if isinstance(error, _InvalidError):
        return error.errors
    return [error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)]


def _chosen(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation to run (GraphQL specification, section 6.1)."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    found = [node for node in operations if name is None or (node.name and node.name.value == name)]
    if not found:
        raise BadUserInputError("The document has no operation of the name in operationName.")
    if len(found) > 1 and name is None:
        raise BadUserInputError("The document has several operations: say in operationName which one to run.")
    return found[0]
