"""The GraphQL specification, section 6.4.1 "Coercing Field Arguments", as plans have it.

Each test asks both executors, whose answers are compared, and finds the first to be a plan's.
"""

from typing import Any

import pytest

from tests.graph.plan.executors import Executors
from tests.graph.plan.small_shop import ASSAM_ID, GREEN, NOTHING, SENCHA_ID, TEA, TEA_ID

ALL = ["Assam", "Beaker", "Sencha"]


def names_of(executors: Executors, arguments: str, declared: str = "", **variables: object) -> list[str]:
    """The products that a page with these arguments has."""
    document = (
        f"query{declared and f'({declared})'} {{ products{arguments and f'({arguments})'} {{ nodes {{ name }} }} }}"
    )
    return [product["name"] for product in executors.ask(document, variables)["products"]["nodes"]]


# Literals


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("", ALL),
        ("first: 1", ["Assam"]),
        ("last: 1", ["Sencha"]),
        ("first: 1, orderBy: [{name: DESC}]", ["Sencha"]),
        ("orderBy: [{name: DESC}] first: 1", ["Sencha"]),
        ("where: {status: {eq: INACTIVE}}", ["Beaker"]),
        ("where: {status: {in: [ACTIVE, INACTIVE]}, price: {lte: 4}}", ["Assam", "Sencha"]),
        ('where: {price: {gt: "3.50", lt: "9.00"}}', ["Sencha"]),
        ('where: {stockQuantity: {eq: 0}, name: {ne: "Assam"}}', ["Beaker", "Sencha"]),
        ('where: {name: {startsWith: "\\u0041ss"}}', ["Assam"]),
        ('where: {name: {eq: """\n    Assam\n    """}}', ["Assam"]),
        (f'where: {{id: {{in: ["{ASSAM_ID}", "{NOTHING}"]}}}}', ["Assam"]),
        ('where: {createdAt: {gt: "2000-01-01T00:00:00Z"}}', ALL),
        ("where: {and: [{not: {status: {eq: ACTIVE}}}, {or: [{sku: {isNull: false}}]}]}", ["Beaker"]),
        ("where: {}", ALL),
        ("where: {or: []}", []),
        ("orderBy: []", ALL),
    ],
)
def test_a_literal_is_coerced_to_the_argument_s_type(executors: Executors, arguments: str, found: list[str]) -> None:
    assert names_of(executors, arguments) == found


@pytest.mark.parametrize(
    ("single", "several"),
    [
        ("orderBy: {name: DESC}", "orderBy: [{name: DESC}]"),
        ("where: {status: {in: INACTIVE}}", "where: {status: {in: [INACTIVE]}}"),
        ('where: {price: {in: "4.00"}}', 'where: {price: {in: ["4.00"]}}'),
        ('where: {and: {sku: {eq: "tea-1"}}}', 'where: {and: [{sku: {eq: "tea-1"}}]}'),
    ],
)
def test_one_value_is_a_list_of_one(executors: Executors, single: str, several: str) -> None:
    assert names_of(executors, single) == names_of(executors, several)
    assert names_of(executors, single) != ALL


def test_one_id_is_a_list_of_one(executors: Executors) -> None:
    found = {"nodes": [{"id": ASSAM_ID}]}
    assert executors.ask(f'{{ nodes(ids: "{ASSAM_ID}") {{ id }} }}') == found
    assert executors.ask("query($id: ID!) { nodes(ids: [$id]) { id } }", {"id": ASSAM_ID}) == found
    assert executors.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ASSAM_ID}) == found
    assert executors.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": []}) == {"nodes": []}


def test_an_id_can_be_written_as_a_number(executors: Executors) -> None:
    as_number, as_text = (executors.run(f"{{ category(id: {of}) {{ name }} }}") for of in ("5", '"5"'))
    assert as_number == as_text
    assert as_number.data == {"category": None}


# What is not given, what is null, and what has a default


def counts(executors: Executors, argument: str, declared: str = "", **variables: object) -> int:
    """How many products tea has; without its argument, those of the categories below as well."""
    field = f"productCount{argument and f'({argument})'}"
    document = f'query{declared and f"({declared})"} {{ category(id: "{TEA}") {{ {field} }} }}'
    return executors.ask(document, variables)["category"]["productCount"]


def test_an_argument_that_is_not_given_has_its_default(executors: Executors) -> None:
    assert counts(executors, "") == 2
    assert counts(executors, "includeDescendants: true") == 2
    assert counts(executors, "includeDescendants: false") == 1


def test_a_variable_that_is_not_given_leaves_the_argument_its_default(executors: Executors) -> None:
    assert counts(executors, "includeDescendants: $x", "$x: Boolean") == 2
    assert counts(executors, "includeDescendants: $x", "$x: Boolean", x=False) == 1
    assert counts(executors, "includeDescendants: $x", "$x: Boolean", x=True) == 2


def test_a_variable_s_default_comes_before_the_argument_s(executors: Executors) -> None:
    assert counts(executors, "includeDescendants: $x", "$x: Boolean = false") == 1
    assert counts(executors, "includeDescendants: $x", "$x: Boolean = false", x=True) == 2


def test_a_field_of_an_input_that_is_not_given_has_its_default(executors: Executors) -> None:
    assert names_of(executors, f'where: {{category: {{id: "{TEA}"}}}}') == ["Assam", "Sencha"]
    assert names_of(executors, f'where: {{category: {{id: "{TEA}", includeDescendants: false}}}}') == ["Assam"]
    asked = "where: {category: {id: $id, includeDescendants: $below}}"
    assert names_of(executors, asked, "$id: ID!, $below: Boolean", id=TEA) == ["Assam", "Sencha"]
    assert names_of(executors, asked, "$id: ID!, $below: Boolean", id=TEA_ID, below=False) == ["Assam"]


def test_a_null_is_not_the_same_as_nothing(executors: Executors) -> None:
    """Where the field of an input has a default, nothing is the default, and null is null: here it is refused."""
    for scope in "null", "$x":
        declared = "$id: ID!, $x: Boolean" if scope == "$x" else "$id: ID!"
        where = f"{{category: {{id: $id, includeDescendants: {scope}}}}}"
        told = executors.run(
            f"query({declared}) {{ products(where: {where}) {{ totalCount }} }}", {"id": TEA, "x": None}
        )
        assert told.data == {"products": None}
        [error] = told.errors
        assert error["message"].startswith("where.category.includeDescendants must not be null")


@pytest.mark.parametrize("arguments", ["first: null", "where: null", "orderBy: null", "search: null", "after: null"])
def test_a_null_can_be_given(executors: Executors, arguments: str) -> None:
    assert names_of(executors, arguments) == ALL
    name, _, _ = arguments.partition(":")
    types = {
        "first": "Int",
        "where": "ProductWhere",
        "orderBy": "[ProductOrderBy!]",
        "search": "String",
        "after": "String",
    }
    assert names_of(executors, f"{name}: $x", f"$x: {types[name]}", x=None) == ALL
    assert names_of(executors, f"{name}: $x", f"$x: {types[name]}") == ALL


def test_a_variable_inside_of_an_input_that_is_not_given_leaves_its_field_out(executors: Executors) -> None:
    asked = "where: {name: {contains: $x, ne: $y}}"
    assert names_of(executors, asked, "$x: String, $y: String") == ALL
    assert names_of(executors, asked, "$x: String, $y: String", y="Assam") == ["Beaker", "Sencha"]
    assert names_of(executors, asked, "$x: String, $y: String", x="ss", y="Sencha") == ["Assam"]


@pytest.mark.parametrize(
    ("arguments", "declared", "value", "found"),
    [
        ("where: {and: [{sku: {eq: $x}}, {status: {eq: ACTIVE}}]}", "$x: String", "tea-1", ["Assam"]),
        ("where: {sku: {in: [$x, $x]}}", "$x: String!", "tea-2", ["Sencha"]),
        ('where: {sku: {in: ["tea-1", $x]}}', "$x: String!", "mug-1", ["Assam", "Beaker"]),
        ("where: {status: {in: [$x]}}", "$x: ProductStatus!", "INACTIVE", ["Beaker"]),
        ("where: {price: $x}", "$x: DecimalFilter", {"in": ["9.00", 4]}, ["Beaker", "Sencha"]),
        ("orderBy: [{status: DESC}, $x]", "$x: ProductOrderBy!", {"name": "DESC"}, ["Beaker", "Sencha", "Assam"]),
        ("orderBy: [{status: $x}, {name: $x}]", "$x: SortDirection!", "DESC", ["Beaker", "Sencha", "Assam"]),
    ],
)
def test_a_variable_can_stand_inside_of_lists_and_inputs(
    executors: Executors, arguments: str, declared: str, value: object, found: list[str]
) -> None:
    assert names_of(executors, arguments, declared, x=value) == found


# An argument that must not be null


def test_an_argument_that_must_not_be_null_can_have_a_variable_with_a_default(executors: Executors) -> None:
    document = f'query($id: ID = "{TEA}") {{ category(id: $id) {{ name }} }}'
    assert executors.ask(document) == {"category": {"name": "Tea"}}
    assert executors.ask(document, {"id": GREEN}) == {"category": {"name": "Green"}}


def test_an_argument_that_must_not_be_null_and_is_fails_its_field_alone(executors: Executors) -> None:
    document = f'query($id: ID = "{TEA}") {{ a: category(id: $id) {{ name }} b: category(id: "{GREEN}") {{ name }} }}'
    told = executors.run(document, {"id": None})
    assert told.data == {"a": None, "b": {"name": "Green"}}
    [error] = told.errors
    assert (error["path"], error["extensions"]["code"]) == (["a"], "BAD_USER_INPUT")
    assert error["locations"] == [{"line": 1, "column": document.index("$id)") + 1}]
    assert executors.ask(document)["a"] == {"name": "Tea"}


# More than once


def test_arguments_are_the_same_at_each_run_of_a_plan(executors: Executors) -> None:
    """What is worked out once, nothing that runs later changes."""
    asked = (
        "first: $n, where: {status: {in: [ACTIVE]}, or: [{price: {lt: 9}}, {name: {eq: $x}}]}, orderBy: [{name: DESC}]"
    )
    for number, found in (1, ["Sencha"]), (2, ["Sencha", "Assam"]), (1, ["Sencha"]):
        assert names_of(executors, asked, "$n: Int, $x: String!", n=number, x="Beaker") == found


def test_a_field_under_two_aliases_has_two_sets_of_arguments(executors: Executors) -> None:
    document = """query($n: Int, $m: Int = 2) { a: products(first: $n) { nodes { name } } b: products(first: $m)
        { nodes { name } } c: products(last: 1) { nodes { name } } d: nodes(ids: %s) { id } }"""
    found: Any = executors.ask(document % f'["{SENCHA_ID}", "{ASSAM_ID}"]', {"n": 1})
    assert [[node["name"] for node in found[alias]["nodes"]] for alias in "abc"] == [ALL[:1], ALL[:2], ALL[2:]]
    assert found["d"] == [{"id": SENCHA_ID}, {"id": ASSAM_ID}]


def test_each_row_s_edge_has_the_same_arguments(executors: Executors) -> None:
    page = "products(first: $n, includeDescendants: true) { nodes { sku } }"
    document = f"query($n: Int) {{ categories {{ nodes {{ name {page} }} }} }}"
    nodes = executors.ask(document, {"n": 1})["categories"]["nodes"]
    found = {node["name"]: [product["sku"] for product in node["products"]["nodes"]] for node in nodes}
    assert found == {"Tea": ["tea-1"], "Green": ["tea-2"], "Mugs": []}
