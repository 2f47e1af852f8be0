"""How large a document and its variables may be: refused before anything looks at what they mean.

The order is ``check_text``, graphql-core's ``parse``, ``check_limits``, validation, ``check_variables``. Each is linear
in what it is given. A document can be invalid here in any way that parses: that is for validation to report.

Nothing here recurses, so no depth can overflow the stack. graphql-core's parser does recurse, to a depth of 200, and
turns what lies deeper, and a RecursionError of its own, into a syntax error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import cast

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    StringValueNode,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS

from app.errors import LimitExceededError
from app.settings import Settings

PASSWORD_MUTATIONS = frozenset({"logIn", "signUp", "changePassword"})
"""The root mutations that hash a password, which takes a tenth of a second: one of them in an operation."""

MAX_ERRORS = 5
"""For ``validate(max_errors=…)``: graphql-core prints a whole input object for each field of it that there is not, so
the time that validation takes is the size of the document times this. (100, its default, take more than a second.)"""

CHARACTERS_PER_TOKEN = 32
"""How long a document may be is this times ``max_tokens``: a string of 250,000 escapes takes 200 ms to parse."""

LONGEST_NUMBER = 100
"""Characters. Python refuses to make an int of more than 4,300 digits, and graphql-core does not expect that."""

COUNTED_TO = 1_000_000
"""Doubled fragments double the numbers, with each line of the document: nothing is counted further than this."""

_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass
class Size:
    """How large a document is: what it has in all, and from ``variables`` on, except for ``directives``,
    ``longest_literal``, ``longest_number`` and ``unstorable``, what the largest of its operations has once its
    fragments are put in."""

    operations: int = 0
    fragments: int = 0
    inline_fragments: int = 0
    selections: int = 0
    """Fields and fragment spreads, as they are written."""
    variables: int = 0
    """Of one operation."""
    directives: int = 0
    longest_literal: int = 0
    """The most values of a list, or fields of an input object, that is written out in the document."""
    longest_number: int = 0
    """The most characters of a number that is written out in the document."""
    unstorable: StringValueNode | None = None
    """A text with U+0000 in it, if there is one."""
    depth: int = 0
    """How many fields are below each other, where none of them is ``__schema`` or ``__type``."""
    introspection_depth: int = 0
    """The same where one of them is."""
    fields: int = 0
    aliases: int = 0
    root_mutations: int = 0
    password_mutations: int = 0


_LIMITS = (
    ("operations", "max_operations", "The document has {} operations"),
    ("fragments", "max_fragments", "The document has {} fragments"),
    ("inline_fragments", "max_fragments", "The document has {} inline fragments"),
    ("selections", "max_fields", "The document has {} fields and fragment spreads"),
    ("variables", "max_variables", "An operation has {} variables"),
    ("directives", "max_directives", "The document has {} directives"),
    ("longest_literal", "max_list", "A list or input object in the document has {} values"),
    ("depth", "max_depth", "An operation is {} fields deep"),
    ("introspection_depth", "max_introspection_depth", "What is asked of the schema is {} fields deep"),
    ("fields", "max_fields", "An operation, with its fragments put in, has {} fields"),
    ("aliases", "max_aliases", "An operation, with its fragments put in, has {} aliases"),
    ("root_mutations", "max_root_mutations", "An operation has {} mutations"),
)
"""What of ``Size`` must not be larger than which setting, and how to say so."""


def check_text(text: str, settings: Settings) -> None:
    """Refuse a document that is too long to be parsed in time.

    Raises:
        LimitExceededError: it has more than ``CHARACTERS_PER_TOKEN`` times ``max_tokens`` characters.
    """
    _check("The document has {} characters", len(text), CHARACTERS_PER_TOKEN * settings.max_tokens)


def check_limits(document: DocumentNode, settings: Settings) -> None:
    """Refuse a document that is too large, or has U+0000 in a text, whether or not it is valid.

    An escape of GraphQL's own makes that of what is no such character in the request, where it was looked for already.

    Raises:
        LimitExceededError: the message says of what there is how much, and how much there may be.
        GraphQLError: there is U+0000, which PostgreSQL cannot store.
    """
    size = measure(document)
    for name, setting, text in _LIMITS:
        _check(text, cast("int", getattr(size, name)), cast("int", getattr(settings, setting)))
    _check("An operation has {} mutations that take a password", size.password_mutations, 1)
    _check("A number in the document has {} characters", size.longest_number, LONGEST_NUMBER)
    if size.unstorable is not None:
        raise GraphQLError("The document has a character that no text can have.", size.unstorable)


def check_variables(variables: Mapping[str, object], settings: Settings) -> None:
    """Refuse variables, as the client sent them, with too long a list or too many values.

    A value costs here what it would cost in the document: all together may be as many as a document has tokens.

    Raises:
        LimitExceededError: the message says of what there is how much, and how much there may be.
    """
    count = 0
    waiting: list[object] = [variables]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            values = list(cast("Mapping[str, object]", value).values())
        elif isinstance(value, list):
            values = cast("list[object]", value)
            _check("A list in the variables has {} values", len(values), settings.max_list)
        else:
            continue
        count += len(values)
        waiting.extend(values)
    _check("The variables have {} values in all", count, settings.max_tokens)


def _check(text: str, asked: int, allowed: int) -> None:
    if asked > allowed:
        number = f"{asked:,} or more" if asked == COUNTED_TO else f"{asked:,}"
        raise LimitExceededError(f"{text.format(number)}; at most {allowed:,} are allowed.")


def measure(document: DocumentNode) -> Size:
    """How large a document is, up to ``COUNTED_TO`` of anything."""
    size = Size()
    operations: list[tuple[OperationDefinitionNode, _Part]] = []
    fragments: dict[str, _Part] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            size.operations += 1
            size.variables = max(size.variables, len(definition.variable_definitions or ()))
            operations.append((definition, _part_of(definition, size)))
        elif isinstance(definition, FragmentDefinitionNode):
            size.fragments += 1
            fragments[definition.name.value] = _part_of(definition, size)
    graph = {name: {spread.name for spread in part.spreads} & fragments.keys() for name, part in fragments.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError:
        order = []  # they are not put in then: validation refuses the document
    whole: dict[str, _Part] = {}
    for name in order:
        whole[name] = fragments[name].filled(whole)
    for definition, part in operations:
        part.filled(whole)
        size.depth = max(size.depth, part.depth)
        size.introspection_depth = max(size.introspection_depth, part.introspection_depth)
        size.fields = max(size.fields, part.fields)
        size.aliases = max(size.aliases, part.aliases)
        if definition.operation is OperationType.MUTATION:
            size.root_mutations = max(size.root_mutations, part.top_fields)
            size.password_mutations = max(size.password_mutations, part.top_passwords)
    return size


@dataclass(frozen=True)
class _Spread:
    """Where a fragment is put in: below how many fields, and whether one of them is ``__schema`` or ``__type``."""

    name: str
    depth: int
    introspection: bool


@dataclass
class _Part:
    """What an operation or a fragment holds: by itself at first, and once it is ``filled`` with its fragments."""

    fields: int = 0
    aliases: int = 0
    top_fields: int = 0
    """Those that are below no other."""
    top_passwords: int = 0
    depth: int = 0
    introspection_depth: int = 0
    spreads: list[_Spread] = field(default_factory=list[_Spread])

    def reach(self, depth: int, *, introspection: bool) -> None:
        """There is a field this deep."""
        if introspection:
            self.introspection_depth = max(self.introspection_depth, depth)
        else:
            self.depth = max(self.depth, depth)

    def filled(self, fragments: "Mapping[str, _Part]") -> "_Part":
        """This part, with those fragments put in that there are, which are filled themselves."""
        for spread in self.spreads:
            inner = fragments.get(spread.name)
            if inner is None:
                continue
            self.fields = min(self.fields + inner.fields, COUNTED_TO)
            self.aliases = min(self.aliases + inner.aliases, COUNTED_TO)
            if spread.depth == 0:
                self.top_fields = min(self.top_fields + inner.top_fields, COUNTED_TO)
                self.top_passwords = min(self.top_passwords + inner.top_passwords, COUNTED_TO)
            for depth, introspection in ((inner.depth, False), (inner.introspection_depth, True)):
                if depth:
                    self.reach(spread.depth + depth, introspection=spread.introspection or introspection)
        return self


def _part_of(definition: OperationDefinitionNode | FragmentDefinitionNode, size: Size) -> _Part:
    """What a definition holds by itself. What counts for the whole document is added to its size."""
    part = _Part()
    waiting: list[tuple[Node, int, bool]] = [(definition, 0, False)]
    while waiting:
        node, depth, introspection = waiting.pop()
        match node:
            case FieldNode():
                size.selections += 1
                part.fields += 1
                part.aliases += node.alias is not None
                if depth == 0:
                    part.top_fields += 1
                    part.top_passwords += node.name.value in PASSWORD_MUTATIONS
                depth += 1
                introspection = introspection or node.name.value in _INTROSPECTION
                part.reach(depth, introspection=introspection)
            case FragmentSpreadNode():
                size.selections += 1
                part.spreads.append(_Spread(node.name.value, depth, introspection))
            case InlineFragmentNode():
                size.inline_fragments += 1
            case DirectiveNode():
                size.directives += 1
            case ListValueNode():
                size.longest_literal = max(size.longest_literal, len(node.values))
            case ObjectValueNode():
                size.longest_literal = max(size.longest_literal, len(node.fields))
            case IntValueNode() | FloatValueNode():
                size.longest_number = max(size.longest_number, len(node.value))
            case StringValueNode() if "\0" in node.value:
                size.unstorable = node
            case _:
                pass
        for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()):  # a leaf is not in it
            below: Node | tuple[Node, ...] | None = getattr(node, key)
            nodes = (below,) if isinstance(below, Node) else below or ()
            waiting.extend((inner, depth, introspection) for inner in nodes)
    return part
