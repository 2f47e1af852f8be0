"""The GraphQL specification, sections 6.1 "Executing Requests" and 6.2 "Executing Operations", as plans have it.

Each test asks both executors, whose answers are compared, and finds the first to be a plan's. The sections after these
have files of their own: ``test_specification_selections.py`` and so on.
"""

from typing import Any

import pytest

from app.graph.engine import Request
from tests.graph.conftest import plain
from tests.graph.plan.executors import Executors
from tests.graph.plan.small_shop import ASSAM_ID, GREEN, TEA

NAMES = "query($first: Int = 1) { products(first: $first) { nodes { name } } }"
SEVERAL = 'query Tea { product(sku: "tea-1") { name } } query Mug { product(sku: "mug-1") { name } }'


def names_of(data: dict[str, Any]) -> list[str]:
    return [product["name"] for product in data["products"]["nodes"]]


# 6.1 GetOperation


@pytest.mark.parametrize("document", ["{ __typename }", "query { __typename }", "query Only { __typename }"])
def test_the_only_operation_runs_without_being_named(executors: Executors, document: str) -> None:
    assert executors.ask(document) == {"__typename": "Query"}


def test_the_operation_that_is_named_runs(executors: Executors) -> None:
    for name, found in ("Tea", "Assam"), ("Mug", "Beaker"), ("Tea", "Assam"):
        assert executors.ask(SEVERAL, operation_name=name) == {"product": {"name": found}}


@pytest.mark.parametrize("name", [None, "Milk", ""])
def test_no_operation_runs_where_it_is_not_clear_which(executors: Executors, name: str | None) -> None:
    told = executors.run(SEVERAL, operation_name=name)
    assert told.data is ...
    assert [error["extensions"]["code"] for error in told.errors] == ["BAD_USER_INPUT"]


def test_operations_share_the_fragments_of_their_document(executors: Executors) -> None:
    document = 'query A { product(sku: "tea-1") { ...F } } query B { product(sku: "tea-2") { ...F } }'
    document += " fragment F on Product { name }"
    assert executors.ask(document, operation_name="A") == {"product": {"name": "Assam"}}
    assert executors.ask(document, operation_name="B") == {"product": {"name": "Sencha"}}


@pytest.mark.parametrize(
    ("type_", "argument", "value", "found"),
    [
        ("Int", "first", 1, ["Assam"]),
        ("String", "search", "beaker", ["Beaker"]),
        ("ProductWhere", "where", {"sku": {"eq": "tea-2"}}, ["Sencha"]),
        ("[ProductOrderBy!]", "orderBy", [{"name": "DESC"}], ["Sencha", "Beaker", "Assam"]),
    ],
)
def test_operations_have_their_own_variables(
    executors: Executors, type_: str, argument: str, value: object, found: list[str]
) -> None:
    """What one of them names in a condition can be of any type in another."""
    document = (
        "query A($x: Boolean!) { products { nodes { name } totalCount @include(if: $x) } } "
        f"query B($x: {type_}) {{ products({argument}: $x) {{ nodes {{ name }} }} }}"
    )
    assert executors.ask(document, {"x": False}, operation_name="A")["products"].keys() == {"nodes"}
    assert names_of(executors.ask(document, {"x": value}, operation_name="B")) == found
    assert executors.ask(document, {"x": True}, operation_name="A")["products"]["totalCount"] == 3


# 6.1.2 CoerceVariableValues


def test_a_variable_that_is_not_given_has_its_default(executors: Executors) -> None:
    assert names_of(executors.ask(NAMES)) == ["Assam"]
    assert names_of(executors.ask(NAMES, {})) == ["Assam"]


def test_a_variable_that_is_given_has_no_default(executors: Executors) -> None:
    assert names_of(executors.ask(NAMES, {"first": 2})) == ["Assam", "Beaker"]


def test_a_null_is_given_and_no_default(executors: Executors) -> None:
    """A page size of null is the usual one."""
    assert names_of(executors.ask(NAMES, {"first": None})) == ["Assam", "Beaker", "Sencha"]


def test_a_default_can_be_null(executors: Executors) -> None:
    assert len(names_of(executors.ask(NAMES.replace("= 1", "= null")))) == 3


def test_a_default_is_coerced_as_a_value_is(executors: Executors) -> None:
    document = "query($order: [ProductOrderBy!] = {name: DESC}) { products(orderBy: $order) { nodes { name } } }"
    assert names_of(executors.ask(document)) == ["Sencha", "Beaker", "Assam"]


def test_a_variable_that_the_operation_does_not_have_is_passed_over(executors: Executors) -> None:
    assert names_of(executors.ask(NAMES, {"first": 1, "nothing": [{"of": "it"}]})) == ["Assam"]


@pytest.mark.parametrize("variables", [{}, {"id": None}])
def test_a_variable_that_must_not_be_null_is_missing(executors: Executors, variables: dict[str, object]) -> None:
    told = executors.run("query($id: ID!) { a: category(id: $id) { name } users { totalCount } }", variables)
    assert told.data is ...
    [error] = told.errors
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "path" not in error


def test_a_variable_that_must_not_be_null_can_have_a_default(executors: Executors) -> None:
    document = "query($first: Int! = 2) { products(first: $first) { nodes { name } } }"
    assert len(names_of(executors.ask(document))) == 2
    assert executors.run(document, {"first": None}).data is ...


TAKEN: list[tuple[str, str, object, list[str]]] = [
    ("$x: Int", "first: $x", 2.0, ["Assam", "Beaker"]),
    ("$x: String", "search: $x", "beaker", ["Beaker"]),
    ("$x: SortDirection!", "orderBy: {name: $x}", "DESC", ["Sencha", "Beaker", "Assam"]),
    ("$x: [ProductOrderBy!]", "orderBy: $x", {"price": "DESC"}, ["Beaker", "Sencha", "Assam"]),
    ("$x: [ProductOrderBy!]", "orderBy: $x", [{"price": "DESC"}], ["Beaker", "Sencha", "Assam"]),
    ("$x: ProductWhere", "where: $x", {"status": {"in": "INACTIVE"}}, ["Beaker"]),
    ("$x: ProductWhere", "where: $x", {"status": {"in": ["INACTIVE"]}}, ["Beaker"]),
    ("$x: ProductWhere", "where: $x", {"category": {"id": TEA}}, ["Assam", "Sencha"]),
    ("$x: ProductWhere", "where: $x", {"category": {"id": TEA, "includeDescendants": False}}, ["Assam"]),
    ("$x: ProductWhere", "where: $x", {"not": {"price": {"lt": "4.00"}}}, ["Beaker", "Sencha"]),
    ("$x: Decimal", "where: {price: {gt: $x}}", 4, ["Beaker"]),
    ("$x: DateTime", "where: {createdAt: {lt: $x}}", "2001-01-01T00:00:00+02:00", []),
    ("$x: [Decimal!]", "where: {price: {in: $x}}", "3.50", ["Assam"]),
    ("$x: [ProductWhere!]", "where: {or: $x}", [], []),
]


@pytest.mark.parametrize(("declared", "arguments", "value", "found"), TAKEN)
def test_a_value_is_coerced_to_its_variable_s_type(
    executors: Executors, declared: str, arguments: str, value: object, found: list[str]
) -> None:
    document = f"query({declared}) {{ products({arguments}) {{ nodes {{ name }} }} }}"
    assert names_of(executors.ask(document, {"x": value})) == found


def test_an_id_can_be_given_as_a_number(executors: Executors) -> None:
    document = 'query($id: ID!) { category(id: $id) { name } product(sku: "tea-1") { name } }'
    told = executors.run(document, {"id": 5})
    assert told == executors.run(document, {"id": "5"})
    assert told.data == {"category": None, "product": {"name": "Assam"}}


REFUSED: dict[tuple[str, str], list[object]] = {
    ("Int", "first: $x"): ["2", True, 2.5, 2**31, [1], {}],
    ("String", "search: $x"): [1, True, ["a"]],
    ("SortDirection!", "orderBy: {name: $x}"): ["desc", "UP", 1, None],
    ("[ProductOrderBy!]", "orderBy: $x"): [[None], {}, {"name": "ASC", "price": "ASC"}, "name"],
    ("ProductWhere", "where: $x"): [{"nothing": 1}, {"category": {}}, {"sku": "tea-1"}, []],
    ("Decimal", "where: {price: {eq: $x}}"): [1.5, "1.234", "NaN", True],
    ("DateTime", "where: {createdAt: {eq: $x}}"): [0, "yesterday", "2026-01-01"],
}


@pytest.mark.parametrize(
    ("type_", "arguments", "value"), [(*asked, value) for asked, values in REFUSED.items() for value in values]
)
def test_a_value_of_another_type_is_refused_before_anything_runs(
    executors: Executors, type_: str, arguments: str, value: object
) -> None:
    document = f"query($x: {type_}) {{ products({arguments}) {{ nodes {{ name }} }} users {{ totalCount }} }}"
    told = executors.run(document, {"x": value})
    assert told.data is ...
    assert told.errors
    for error in told.errors:
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["locations"] == [{"line": 1, "column": 7}]


def test_a_plan_is_good_for_any_values(executors: Executors) -> None:
    """Nothing of one run is left for the next one, whichever way they go."""
    document = "query($ids: [ID!]!, $id: ID!) { nodes(ids: $ids) { __typename } category(id: $id) { name } }"
    for ids, uuid, name in ([ASSAM_ID], TEA, "Tea"), ([], GREEN, "Green"), (ASSAM_ID, TEA, "Tea"):
        nodes = [{"__typename": "Product"}] if ids else []
        assert executors.ask(document, {"ids": ids, "id": uuid}) == {"nodes": nodes, "category": {"name": name}}


# 6.2 Executing operations, and the answer (section 7.1)


def test_a_query_without_errors_has_data_and_nothing_else(executors: Executors) -> None:
    answer = executors.answer(Request('{ __typename product(sku: "nothing") { name } }'))
    assert answer.is_compiled
    assert plain(answer.body) == {"data": {"__typename": "Query", "product": None}}


def test_the_fields_of_a_query_are_in_the_order_of_the_document(executors: Executors) -> None:
    document = '{ z: __typename products { totalCount } a: product(sku: "tea-1") { name } __typename }'
    assert list(executors.ask(document)) == ["z", "products", "a", "__typename"]


def test_a_mutation_is_never_a_plan_s(executors: Executors) -> None:
    document = 'mutation { logIn(input: {email: "ada@example.com", password: "not the one"}) { expiresIn } }'
    answer = executors.answer(Request(document))
    assert not answer.is_compiled
    assert answer.codes == {"UNAUTHENTICATED"}


@pytest.mark.parametrize("asked", ['__type(name: "User") { name }', "__schema { queryType { name } }"])
def test_introspection_is_never_a_plan_s(executors: Executors, asked: str) -> None:
    answer = executors.answer(Request("{ products { totalCount } " + asked + " }"))
    assert not answer.is_compiled
    assert plain(answer.body)["data"]["products"] == {"totalCount": 3}
