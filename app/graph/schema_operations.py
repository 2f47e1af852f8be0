"""Which of a client's operations a change of the schema breaks.

An operation is validated against both schemas, with the fragments that it needs, from whichever file they are in. Of
one that stays valid, what it reads and what its variables can carry are compared: a field that became nullable and a
filter that lost a field break clients too, and no validation finds them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLSchema,
    NamedTypeNode,
    Node,
    NoUnusedFragmentsRule,
    OperationDefinitionNode,
    Source,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    Visitor,
    get_named_type,
    is_required_input_field,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.utilities.find_schema_changes import (
    is_change_safe_for_input_object_field_or_field_arg as is_safe_to_send,
)
from graphql.utilities.find_schema_changes import (
    is_change_safe_for_object_or_interface_field as is_safe_to_read,
)

from app.errors import OperationError

Executable = OperationDefinitionNode | FragmentDefinitionNode
Effect = Literal["refused", "reads", "sends", "refused before"]

_RULES = tuple(rule for rule in specified_rules if rule is not NoUnusedFragmentsRule)  # a fragment can stand alone


@dataclass(frozen=True)
class Broken:
    """What is wrong with an operation under the new schema.

    Attributes:
        file: where in it the fault is: the operation's own file, or the one of a fragment that it spreads.
        line: counted from 1.
        operation: such as ``query Account`` or, of a fragment that no operation spreads, ``fragment Line``.
        effect: ``refused``: the new schema does not validate it; ``reads``: it does, but a field answers with what the
            client does not expect; ``sends``: it does, but a value that a variable could have is refused;
            ``refused before``: the old schema does not validate it either, so the change is not to blame.
        message: the validation error, or what changed.
    """

    file: str
    line: int
    operation: str
    effect: Effect
    message: str


class Operations:
    """The operations of a client, from its files.

    Attributes:
        documents: each operation with the fragments that it needs, and each fragment that no operation needs.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Read documents, by the names of their files. What defines types is passed over.

        Raises:
            OperationError: a file is no GraphQL, or it is not clear which of two fragments of a name is meant.
        """
        self._fragments: dict[str, dict[str, FragmentDefinitionNode]] = {}
        found: list[tuple[str, Executable]] = []
        for file, text in texts.items():
            for node in _parsed(file, text).definitions:
                if isinstance(node, FragmentDefinitionNode):
                    self._fragments.setdefault(node.name.value, {})[file] = node
                if isinstance(node, Executable):
                    found.append((file, node))
        operations = [self._with_fragments(*of) for of in found if isinstance(of[1], OperationDefinitionNode)]
        used = {id(node) for document in operations for node in document.definitions}
        self.documents = operations + [self._with_fragments(*of) for of in found if id(of[1]) not in used]

    @property
    def count(self) -> int:
        """How many operations there are, and fragments that none of them needs."""
        return len(self.documents)

    def _with_fragments(self, file: str, definition: Executable) -> DocumentNode:
        needed: dict[str, FragmentDefinitionNode] = {}
        waiting: list[tuple[str, Executable]] = [(file, definition)]
        while waiting:
            spread_in, node = waiting.pop()
            for name in sorted(_spreads(node) - needed.keys()):
                if (found := self._fragment(name, spread_in)) and found[1] is not definition:
                    needed[name] = found[1]
                    waiting.append(found)
        return DocumentNode(definitions=(definition, *needed.values()))

    def _fragment(self, name: str, file: str) -> tuple[str, FragmentDefinitionNode] | None:
        """The fragment that a spread in a file means: the file's own, or else the only one of that name."""
        known = self._fragments.get(name, {})
        files = [file] if file in known else list(known)
        if len(files) > 1:
            raise OperationError(
                f"{file} spreads {name}, and {' and '.join(files)} each have a fragment of that name: rename one"
            )
        return (files[0], known[files[0]]) if files else None


def _parsed(file: str, text: str) -> DocumentNode:
    if not text.strip():
        return DocumentNode(definitions=())
    try:
        return parse(Source(text, file))
    except GraphQLError as error:
        line = error.locations[0].line if error.locations else 1
        raise OperationError(f"{file}, line {line}: {error.message}") from None


class _Spreads(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
        self.names.add(node.name.value)


def _spreads(node: Node) -> set[str]:
    spreads = _Spreads()
    visit(node, spreads)
    return spreads.names


def find_broken(operations: Operations, old: GraphQLSchema, new: GraphQLSchema) -> list[Broken]:
    """What of these operations the change from one schema to another breaks, by file and line."""
    found = {broken: None for document in operations.documents for broken in _broken(document, old, new)}
    return sorted(found, key=lambda broken: (broken.file, broken.line, broken.operation, broken.message))


def _broken(document: DocumentNode, old: GraphQLSchema, new: GraphQLSchema) -> Iterator[Broken]:
    first = document.definitions[0]
    refused_before = bool(validate(old, document, _RULES))
    for error in validate(new, document, _RULES):
        node = (error.nodes or [first])[0]
        yield _at(node, first, "refused before" if refused_before else "refused", error.message)
    if refused_before:
        return
    comparison = _Comparison(old, new)
    visit(document, TypeInfoVisitor(comparison.types, comparison))
    for node, effect, message in comparison.found:
        yield _at(node, first, effect, message)


def _at(node: Node, operation: Node, effect: Effect, message: str) -> Broken:
    if isinstance(operation, OperationDefinitionNode):
        kind, name = operation.operation.value, operation.name.value if operation.name else "without a name"
    else:
        kind, name = "fragment", operation.name.value if isinstance(operation, FragmentDefinitionNode) else ""
    file, line = (node.loc.source.name, node.loc.start_token.line) if node.loc else ("", 0)
    return Broken(file, line, f"{kind} {name}", effect, message)


class _Comparison(Visitor):
    """Walks through a document that the old schema validates, and notes what the new one answers or takes otherwise."""

    def __init__(self, old: GraphQLSchema, new: GraphQLSchema) -> None:
        super().__init__()
        self.types = TypeInfo(old)
        self.found: list[tuple[Node, Effect, str]] = []
        self._old, self._new = old, new

    def enter_field(self, node: FieldNode, *_: object) -> None:
        # Any: graphql-core leaves the type parameters of its wrapping types open.
        parent, before = self.types.get_parent_type(), cast("Any", self.types.get_field_def())
        if parent is None or before is None or node.name.value.startswith("__"):
            return
        after = getattr(self._new.get_type(parent.name), "fields", {}).get(node.name.value)
        if after is not None and not is_safe_to_read(before.type, after.type):
            field = f"{parent.name}.{node.name.value}"
            self.found.append((node, "reads", f"{field} answers with {after.type}, and no longer with {before.type}."))

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: object) -> None:
        type_: Node = node.type
        while not isinstance(type_, NamedTypeNode):
            type_ = cast("Any", type_).type
        named = self._old.get_type(type_.name.value)
        for reached in _reached(named) if named else ():
            for message in _refuses(reached, self._new.get_type(reached.name)):
                self.found.append((node, "sends", f"${node.variable.name.value} can hold what is refused: {message}"))


def _reached(type_: GraphQLNamedType) -> list[GraphQLNamedType]:
    """The types of all values that a value of this one can have in it, itself first."""
    reached = {type_.name: type_}
    waiting = [type_]
    while waiting:
        if isinstance(found := waiting.pop(), GraphQLInputObjectType):
            inner = [cast("GraphQLNamedType", get_named_type(field.type)) for field in found.fields.values()]
            waiting += [of for of in inner if of.name not in reached]
            reached |= {of.name: of for of in inner}
    return list(reached.values())


def _refuses(old: GraphQLNamedType, new: GraphQLNamedType | None) -> Iterator[str]:
    """Which values of an input or enum were taken, and are not any more."""
    if isinstance(old, GraphQLEnumType) and isinstance(new, GraphQLEnumType):
        yield from (f"{old.name}.{name} was removed." for name in old.values.keys() - new.values.keys())
    if not (isinstance(old, GraphQLInputObjectType) and isinstance(new, GraphQLInputObjectType)):
        return
    if new.is_one_of and not old.is_one_of:
        yield f"{old.name} takes exactly one field now."
    for name, field in old.fields.items():
        if name not in new.fields:
            yield f"{old.name}.{name} was removed."
        elif not is_safe_to_send(field.type, new.fields[name].type):
            yield f"{old.name}.{name} takes {new.fields[name].type}, and no longer {field.type}."
    for name, field in new.fields.items():
        if name not in old.fields and is_required_input_field(field):
            yield f"{old.name}.{name} is required now."
