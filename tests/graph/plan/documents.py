"""Documents made at random, deep rather than wide: what a schema lets one ask, with all that can be wrong about it."""

from collections.abc import Iterator
from random import Random
from typing import Any

from graphql import GraphQLField, GraphQLInterfaceType, GraphQLObjectType, get_named_type, is_leaf_type

from tests.graph.conftest import SCHEMA

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
CORE = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through
VARIABLES = {"yes": True, "no": False, "few": 2, "none": None}
DECLARED = "query($yes: Boolean!, $no: Boolean!, $few: Int, $none: Int)"
WHERES = {
    "UserWhere": ["{}", '{email: {contains: "1"}}', "{role: {in: [CUSTOMER]}}", "{email: {eq: null}}"],
    "CategoryWhere": ["{isRoot: true}", '{name: {ne: "x"}}', "{not: {isRoot: true}}"],
    "ProductWhere": ["{status: {eq: ACTIVE}}", '{price: {gte: "1.00"}}', '{category: {id: "nonsense"}}', "{or: []}"],
    "OrderWhere": ["{status: {in: [PENDING, PAID]}}", '{totalAmount: {lt: "5"}}', '{userId: {eq: "nonsense"}}'],
    "PaymentWhere": ['{currency: {eq: "USD"}}', "{amount: {isNull: false}}"],
}
CONDITIONS = ["", "", "@include(if: $yes)", "@skip(if: $no)", "@skip(if: $yes)", "@include(if: false)"]
ORDERS = ["[]", "null", "[{createdAt: ASC}]", "[{updatedAt: DESC}, {createdAt: ASC}]", "[{createdAt: UP}]"]


class Documents:
    """Makes documents. ``ids`` are of rows that there are, of any types."""

    def __init__(self, random: Random, ids: list[str]) -> None:
        self._random = random
        self._ids = ids
        self._fragments: list[str] = []
        self._aliases = iter(range(10**6))

    def document(self) -> str:
        """A whole document, with the variables of ``VARIABLES``; all of them are used."""
        query = CORE.query_type
        assert query is not None
        names = list(query.fields)
        body = " ".join(
            self._field(query, name, 5) for name in self._random.choices(names, k=self._random.randint(1, 3))
        )
        used = "used: __typename @skip(if: $no) @include(if: $yes) products(first: $few, last: $none) { totalCount }"
        return f"{DECLARED} {{ {body} {used} }} {' '.join(self._fragments)}"

    def _selection(self, type_: GraphQLObjectType, depth: int) -> str:
        names = [name for name, field in type_.fields.items() if depth > 0 or is_leaf_type(get_named_type(field.type))]
        chosen = self._random.choices(names, k=self._random.randint(1, 4)) if names else []
        parts = [self._wrapped(type_, self._field(type_, name, depth)) for name in chosen]
        if not parts or self._random.random() < 0.2:
            parts.insert(
                self._random.randint(0, len(parts)),
                self._random.choice(["__typename", f"t{next(self._aliases)}: __typename"]),
            )
        return "{ " + " ".join(parts) + " }"

    def _of_any_type(self, depth: int) -> str:
        """What is asked of a node: of some types, and of all."""
        types = [type_ for type_ in CORE.type_map.values() if isinstance(type_, GraphQLObjectType) and type_.interfaces]
        parts = [f"... on {type_.name} {self._selection(type_, depth)}" for type_ in self._random.choices(types, k=4)]
        return "{ " + " ".join([*parts, self._random.choice(["id", "__typename", "__typename id"])]) + " }"

    def _wrapped(self, type_: GraphQLObjectType, text: str) -> str:
        """A field, or the same in a fragment."""
        kind = self._random.random()
        condition = self._random.choice(
            ["", "", "@include(if: $yes)", "@skip(if: $no)", "@skip(if: $yes)", "@include(if: false)"]
        )
        if kind < 0.7:
            return text
        on = self._random.choice(["", f"on {type_.name}", *(f"on {name}" for name in self._interfaces(type_))])
        if on == "on Node":
            text = "id"
        if kind < 0.85 or not on:
            return f"... {on} {condition} {{ {text} }}"
        name = f"F{next(self._aliases)}"
        self._fragments.append(f"fragment {name} {on} {{ {text} }}")
        return f"...{name} {condition}"

    @staticmethod
    def _interfaces(type_: GraphQLObjectType) -> Iterator[str]:
        return (of.name for of in type_.interfaces if isinstance(of, GraphQLInterfaceType))

    def _field(self, type_: GraphQLObjectType, name: str, depth: int) -> str:
        field = type_.fields[name]
        target = get_named_type(field.type)
        arguments = self._arguments(field)
        alias = f"a{next(self._aliases)}: " if arguments or self._random.random() < 0.2 else ""
        condition = self._random.choice([""] * 8 + ["@include(if: $yes)", "@skip(if: $yes)"])
        if isinstance(target, GraphQLObjectType):
            below = self._selection(target, depth - 1)
        else:
            below = self._of_any_type(depth - 1) if isinstance(target, GraphQLInterfaceType) else ""
        return f"{alias}{name}{arguments} {condition} {below}"

    def _arguments(self, field: GraphQLField) -> str:
        given: dict[str, Any] = {}
        for name, argument in field.args.items():
            type_ = get_named_type(argument.type).name
            required = str(argument.type).endswith("!")
            if required or self._random.random() < 0.3:
                given[name] = self._value(name, type_)
        if "id" in field.args and not given:
            given["id"] = self._value("id", "ID")
        return f"({', '.join(f'{name}: {value}' for name, value in given.items())})" if given else ""

    def _value(self, name: str, type_: str) -> str:
        random = self._random
        if name in WHERES or type_ in WHERES:
            return random.choice(WHERES[type_])
        match name:
            case "id":
                return f'"{random.choice(self._ids)}"' if random.random() < 0.9 else '"nonsense"'
            case "ids":
                return f"[{', '.join(self._value('id', 'ID') for _ in range(random.randint(0, 4)))}]"
            case "first" | "last":
                return random.choice(["1", "2", "3", "100", "$few", "$none", "null", "0", "101"])
            case "after" | "before":
                return random.choice(["null", '"nonsense"'])
            case "orderBy":
                return random.choice(ORDERS[:-1]) if random.random() < 0.95 else ORDERS[-1]
            case "maxDepth":
                return random.choice(["1", "2", "0", "null"])
            case "includeDescendants":
                return random.choice(["true", "false", "null", "$yes"])
            case "search":
                return random.choice(['"product"', '"nothing like it"', '""', "null"])
            case _:
                return random.choice(['"user1@example.com"', '"sku-1"', "null"])
