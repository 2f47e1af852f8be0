"""What an operation costs, rule by rule."""

from typing import cast

import pytest
from graphql import OperationDefinitionNode, get_introspection_query, parse, validate

from app.errors import LimitExceededError
from app.graph.guard.cost import COUNTED_TO, LIST, check_cost, cost_of
from app.graph.schema import build_schema
from app.settings import DATABASE_NAMES, load_settings

SETTINGS = load_settings(**{f"{name}_database_url": f"postgresql://u@h/{name}" for name in DATABASE_NAMES})
SCHEMA = build_schema()._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own


def cost(query: str, /, **variables: object) -> int:
    """The cost of the last operation of a valid document."""
    document = parse(query)
    assert validate(SCHEMA, document) == []
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return cost_of(SCHEMA, document, operations[-1], variables)


FIVE_QUERIES = {
    "order": (
        """{ order(id: "1") { id status totalAmount user { id firstName lastName } items { quantity unitPrice product {
        name category { name ancestors { name } } images { url } } } payments { amount status } } }""",
        1 + 1 + 5 * (1 + 1 + 1 + 5 + 5) + 5,
    ),
    "account": (
        """{ user(id: "1") { orders(first: 20) { nodes { id status items { quantity product { name category { name } } }
        payments { amount status } } } } }""",
        1 + 20 * (1 + 5 * (1 + 1 + 1) + 5),
    ),
    "backoffice": (
        """{ orders(first: 100) { nodes { id status user { email } items { quantity product { name category { name } } }
        } } }""",
        100 * (1 + 1 + 5 * (1 + 1 + 1)),
    ),
    "tree": (
        """{ categories(where: {isRoot: true}) { nodes { name children { name children { name
        products(first: 5) { nodes { name } } } } } } }""",
        20 * (1 + 5 * (1 + 5 * (1 + 5))),
    ),
    "list": ("{ products(first: 100) { nodes { id name sku price status createdAt } } }", 100),
}


@pytest.mark.parametrize("name", FIVE_QUERIES)
def test_the_usual_queries_cost_a_tenth_of_what_they_may(name: str) -> None:
    """72, 421, 1,700, 3,120 and 100."""
    query, expected = FIVE_QUERIES[name]
    assert cost(query) == expected < SETTINGS.max_cost / 10


RULES: list[tuple[str, dict[str, object], int]] = [
    ("{ __typename }", {}, 0),
    ('{ order(id: "1") { id status } }', {}, 1),
    ('{ order(id: "1") { user { id } items { id } } }', {}, 1 + 1 + LIST),
    # pages
    ("{ orders { nodes { id } } }", {}, 20),
    ("{ orders(last: 7) { nodes { id } } }", {}, 7),
    ("{ orders(first: null, last: 7) { nodes { id } } }", {}, 7),
    ("{ orders(first: 7) { __typename } }", {}, 0),
    ("{ orders(first: 7) { totalCount } }", {}, 1),
    ("{ orders(first: 7) { pageInfo { endCursor } } }", {}, 7),
    ("{ orders(first: 7) { edges { cursor } } }", {}, 7),
    ("{ orders(first: 7) { edges { node { user { id } } } } }", {}, 7 + 7),
    (
        "{ orders(first: 7) { nodes { user { id } } edges { node { items { id } } } totalCount } }",
        {},
        7 * (1 + 1 + 5) + 1,
    ),
    ("{ users(first: 3) { nodes { orders(first: 4) { totalCount nodes { items { id } } } } } }", {}, 3 * (2 + 4 * 6)),
    # numbers that take a statement, and a list without pages that is one by its argument
    ('{ category(id: "1") { name depth productCount } }', {}, 1 + 1 + 1),
    ('{ category(id: "1") { descendants(maxDepth: 1) { depth } } }', {}, 1 + LIST * 2),
    ('{ payment(id: "1") { amount amountRefunded } }', {}, 1 + 1),
    # objects by their ids
    ('{ node(id: "1") { id ... on Order { user { id } } ... on User { profiles { id } } } }', {}, 1 + 1 + LIST),
    ('{ nodes(ids: ["1", "2", "3"]) { id ... on Order { user { id } } } }', {}, 3 * 2),
    ('{ nodes(ids: "1") { id } }', {}, 1),
    ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["a"] * 9}, 9),
    ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": "a"}, 1),
    ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["a"] * 101}, 100),
    ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {}, 0),
    ('query ($ids: [ID!]! = ["1", "2"]) { nodes(ids: $ids) { id } }', {}, 2),
    # the size of a page from a variable
    ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 9}, 9),
    ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 9.0}, 9),
    ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {"n": None}, 20),
    ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {}, 20),
    ("query ($n: Int = 8) { orders(first: $n) { nodes { id } } }", {}, 8),
    ("query ($n: Int = 8) { orders(first: $n) { nodes { id } } }", {"n": 9}, 9),
    ("query ($n: Int = 8) { orders(first: $n) { nodes { id } } }", {"n": None}, 20),
    # what the executor refuses counts as the most, or least, that it could read
    ("{ orders(first: 101) { nodes { id } } }", {}, 100),
    ("{ orders(first: -1) { nodes { id } } }", {}, 1),
    ("{ orders(first: 3, last: 4) { nodes { id } } }", {}, 4),
    *(
        ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {"n": value}, 100)
        for value in (10**400, "9", True, [9], object(), float("nan"), float("inf"))
    ),
    # @skip and @include
    ("{ orders { nodes { id } } users @skip(if: true) { nodes { id } } }", {}, 20),
    ("{ orders { nodes { id } } ... @include(if: false) { users { nodes { id } } } }", {}, 20),
    ("{ orders { nodes { id } } ...f @skip(if: true) } fragment f on Query { users { nodes { id } } }", {}, 20),
    ("query ($b: Boolean!) { orders @skip(if: $b) { nodes { id } } }", {"b": True}, 0),
    ("query ($b: Boolean!) { orders @skip(if: $b) { nodes { id } } }", {"b": False}, 20),
    ("query ($b: Boolean!) { orders @skip(if: $b) { nodes { id } } }", {}, 20),
    ("query ($b: Boolean = false) { orders @include(if: $b) { nodes { id } } }", {}, 0),
    ("query ($b: Boolean = false) { orders @include(if: $b) { nodes { id } } }", {"b": "no"}, 20),
    # fragments, and other operations
    (
        "{ ...f a: orders { ...g } } fragment f on Query { orders { ...g } } "
        "fragment g on OrderConnection { nodes { id } }",
        {},
        40,
    ),
    ("query a { orders { nodes { id } } } query b { payments(first: 1) { nodes { id } } }", {}, 1),
    # twice the same is merged when it is executed, and counts twice
    ("{ orders { nodes { id } } orders { nodes { id } } }", {}, 40),
]


@pytest.mark.parametrize(("query", "variables", "expected"), RULES)
def test_a_cost_is_counted_as_the_rules_say(query: str, variables: dict[str, object], expected: int) -> None:
    assert cost(query, **variables) == expected


def test_what_costs_more_than_it_may_is_refused() -> None:
    def checked(size: int) -> int:
        document = parse(
            f"{{ users(first: 100) {{ nodes {{ orders(first: {size}) {{ nodes {{ items {{ id }} }} }} }} }} }}"
        )
        operation = cast("OperationDefinitionNode", document.definitions[0])
        return check_cost(SCHEMA, document, operation, {}, SETTINGS)

    assert checked(83) == 100 + 100 * 83 * 6 == 49_900
    with pytest.raises(LimitExceededError, match=r"asks for up to 50,500 objects; at most 50,000 are allowed\."):
        checked(84)


def test_a_cost_stays_a_number_of_a_few_digits() -> None:
    fragments = [
        f"fragment f{i} on User {{ orders(first: 100) {{ nodes {{ user {{ ...f{i + 1} ...f{i + 1} }} }} }} }}"
        for i in range(48)
    ]
    query = f"{{ users {{ nodes {{ ...f0 }} }} }} {' '.join(fragments)} fragment f48 on User {{ id }}"
    assert cost(query) == COUNTED_TO


def test_the_deepest_document_that_the_limits_let_through_is_counted() -> None:
    """Fifty fragments in each other, and inline fragments in them: it recurses, and far from what the stack holds."""
    inner = "... on Query { " * 49 + "...f48 " + "}" * 49
    fragments = [f"fragment f{i} on Query {{ ...f{i + 1} }}" for i in range(48)]
    query = f"{{ ...f0 }} {' '.join(fragments)} fragment f48 on Query {{ orders {{ nodes {{ id }} }} }}".replace(
        "{ ...f48 }", f"{{ {inner} }}"
    )
    assert cost(query) == 20


# Introspection


def test_the_usual_introspection_query_costs_less_than_is_allowed() -> None:
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    assert SETTINGS.max_cost / 4 < cost(query) < SETTINGS.max_cost * 3 / 4


def test_the_whole_schema_over_and_over_costs_too_much() -> None:
    parts = "fields { name args { name type { name ofType { name } } } type { name ofType { name } } }"
    aliases = " ".join(f"a{i}: {parts}" for i in range(29))
    assert cost(f"{{ __schema {{ types {{ {aliases} }} }} }}") > 10 * cost(f"{{ __schema {{ types {{ {parts} }} }} }}")
