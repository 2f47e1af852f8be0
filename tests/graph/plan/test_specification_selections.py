"""The GraphQL specification, section 6.3 "Executing Selection Sets", as plans have it.

Each test asks both executors, whose answers are compared byte for byte, and finds the first to be a plan's.
"""

import json
from itertools import product
from typing import Any

import pytest

from app.graph.engine import Request
from tests.graph.plan.executors import Executors, text_of
from tests.graph.plan.small_shop import ASSAM_ID, SENCHA_ID, TEA_ID

ASSAM = 'product(sku: "tea-1")'
OF_EACH_TYPE = f'nodes(ids: ["{ASSAM_ID}", "{TEA_ID}"])'
CONDITIONS = list(product((None, True, False), repeat=2))


def asked(executors: Executors, selection: str, fragments: str = "", **variables: object) -> dict[str, Any]:
    """What a selection finds of one product."""
    declared = f"({', '.join(f'${name}: Boolean!' for name in variables)})" if variables else ""
    return executors.ask(f"query{declared} {{ {ASSAM} {selection} }} {fragments}", variables)["product"]


# CollectFields: @skip and @include


@pytest.mark.parametrize(("skip", "include"), CONDITIONS)
@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("place", ["sku %s", "...F %s", "... %s { sku }", "... on Product %s { sku }"])
def test_a_selection_counts_where_it_is_not_skipped_and_is_included(
    executors: Executors, place: str, by_variable: bool, skip: bool | None, include: bool | None
) -> None:
    given = {name: value for name, value in (("skip", skip), ("include", include)) if value is not None}
    directives = [f"@{name}(if: {f'${name}' if by_variable else json.dumps(given[name])})" for name in given]
    fragment = "fragment F on Product { sku }" if "F" in place else ""
    for order in directives, directives[::-1]:
        selection = f"{{ name {place % ' '.join(order)} }}"
        found = asked(executors, selection, fragment, **(given if by_variable else {}))
        assert ("sku" in found) == (skip is not True and include is not False)
        assert found["name"] == "Assam"


def test_a_condition_counts_where_it_stands_and_nowhere_else(executors: Executors) -> None:
    assert asked(executors, "{ sku @skip(if: true) name sku }") == {"name": "Assam", "sku": "tea-1"}
    assert asked(executors, "{ sku @skip(if: true) other: sku }") == {"other": "tea-1"}


def test_one_document_has_a_plan_for_each_value_of_its_conditions(executors: Executors) -> None:
    for sku, price in [*product((True, False), repeat=2)] * 2:
        found = asked(executors, "{ name sku @include(if: $sku) price @skip(if: $price) }", sku=sku, price=price)
        assert list(found) == ["name", *(["sku"] if sku else []), *([] if price else ["price"])]


def test_a_condition_can_be_the_default_of_a_variable(executors: Executors) -> None:
    document = f"query($skip: Boolean = true) {{ {ASSAM} {{ name sku @skip(if: $skip) }} }}"
    assert executors.ask(document)["product"] == {"name": "Assam"}
    assert executors.ask(document, {"skip": False})["product"] == {"name": "Assam", "sku": "tea-1"}


ALL_SKIPPED: list[tuple[str, dict[str, object]]] = [
    ("{ __typename @skip(if: true) }", {}),
    (f"{{ {ASSAM} {{ name @skip(if: true) }} }}", {"product": {}}),
    (f"{{ {ASSAM} {{ images {{ url @include(if: false) }} }} }}", {"product": {"images": [{}, {}]}}),
    ("{ products(first: 2) { nodes { name @skip(if: true) } } }", {"products": {"nodes": [{}, {}]}}),
    ("{ products(first: 1) { edges { cursor @skip(if: true) } } }", {"products": {"edges": [{}]}}),
    ("{ products(first: 1) { pageInfo { endCursor @skip(if: true) } } }", {"products": {"pageInfo": {}}}),
    ("{ products { nodes @skip(if: true) { name } } }", {"products": {}}),
    (f"{{ {OF_EACH_TYPE} {{ id @skip(if: true) }} }}", {"nodes": [{}, {}]}),
    (f"{{ {ASSAM} {{ ... @skip(if: true) {{ name }} }} __typename }}", {"product": {}, "__typename": "Query"}),
]


@pytest.mark.parametrize(("document", "found"), ALL_SKIPPED)
def test_an_object_of_which_all_is_skipped_is_there_and_empty(
    executors: Executors, document: str, found: object
) -> None:
    assert executors.ask(document) == found


def test_what_is_skipped_is_not_asked(executors: Executors) -> None:
    """Its arguments are not looked at, and the table that it would read need not be there."""
    with executors.without("payments", "payments"):
        document = "{ orders { nodes { status payments @skip(if: true) { amount } } } payments @include(if: false) "
        executors.ask(document + "{ totalCount } products(first: 0) @skip(if: true) { totalCount } }")


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ("products @include(if: $i) { totalCount }", None),
        ("products { totalCount @include(if: $i) }", {"products": None, "__typename": "Query"}),
        ("products(first: 1) { nodes { name @skip(if: $i) } }", {"products": None, "__typename": "Query"}),
        ('product(sku: "nothing") { name @skip(if: $i) }', {"product": None, "__typename": "Query"}),
    ],
)
def test_a_condition_that_is_null_fails_where_it_stands(
    executors: Executors, selection: str, found: dict[str, object] | None
) -> None:
    """A variable with a default can be null nevertheless. What to do then, the resolvers may say."""
    document = f"query($i: Boolean = true) {{ {selection} __typename }}"
    executors.ask(document)
    answer = executors.answer(Request(document, variables={"i": None}))
    assert not answer.refused
    assert json.loads(text_of(answer) or "") == found


# CollectFields: fragments


def test_a_fragment_that_is_spread_twice_counts_once(executors: Executors) -> None:
    assert list(asked(executors, "{ ...F name ...F }", "fragment F on Product { sku }")) == ["sku", "name"]


def test_a_fragment_whose_spread_is_skipped_still_counts_at_the_next(executors: Executors) -> None:
    found = asked(executors, "{ ...F @skip(if: true) name ...F }", "fragment F on Product { sku }")
    assert list(found) == ["name", "sku"]


def test_a_fragment_counts_once_in_each_selection_set(executors: Executors) -> None:
    fragments = "fragment F on Category { name parent { ...G } } fragment G on Category { name }"
    document = "{ category(id: $id) { ...F children { ...F ...G } } }"
    found = executors.ask("query($id: ID!) " + document + fragments, {"id": TEA_ID})
    tea = {"name": "Tea"}
    assert found["category"] == {**tea, "parent": None, "children": [{"name": "Green", "parent": tea}]}


def test_fragments_stand_in_each_other(executors: Executors) -> None:
    fragments = "fragment F on Product { sku ...G } fragment G on Product { price ...H } fragment H on Product { name }"
    assert list(asked(executors, "{ ...F }", fragments)) == ["sku", "price", "name"]


@pytest.mark.parametrize("on", ["", "on Product", "on Node"])
def test_an_inline_fragment_stands_for_its_fields(executors: Executors, on: str) -> None:
    found = asked(executors, f"{{ name ... {on} {{ id }} sku }}")
    assert found == {"name": "Assam", "id": ASSAM_ID, "sku": "tea-1"}
    assert list(found) == ["name", "id", "sku"]


def test_the_root_has_fragments_as_well(executors: Executors) -> None:
    document = f"{{ ... {{ a: __typename }} ... on Query {{ {ASSAM} {{ name }} }} ...F }}"
    found = executors.ask(document + ' fragment F on Query { product(sku: "tea-1") { sku } }')
    assert found == {"a": "Query", "product": {"name": "Assam", "sku": "tea-1"}}


@pytest.mark.parametrize("type_", ["ProductConnection", "ProductEdge", "PageInfo"])
def test_the_parts_of_a_page_have_fragments_as_well(executors: Executors, type_: str) -> None:
    inside = {
        "ProductConnection": "... on ProductConnection { totalCount ... { nodes { name } } }",
        "ProductEdge": "edges { ... on ProductEdge { ... { node { name } } } }",
        "PageInfo": "pageInfo { ... on PageInfo { hasNextPage } }",
    }
    expected: dict[str, object] = {
        "ProductConnection": {"totalCount": 3, "nodes": [{"name": "Assam"}]},
        "ProductEdge": {"edges": [{"node": {"name": "Assam"}}]},
        "PageInfo": {"pageInfo": {"hasNextPage": True}},
    }
    assert executors.ask(f"{{ products(first: 1) {{ {inside[type_]} }} }}") == {"products": expected[type_]}


# DoesFragmentTypeApply


@pytest.mark.parametrize(
    ("selection", "of_product", "of_category"),
    [
        ("... on Product { sku }", {"sku": "tea-1"}, {}),
        ("... on Category { depth }", {}, {"depth": 0}),
        ("... on Order { status }", {}, {}),
        ("... on Node { id }", {"id": ASSAM_ID}, {"id": TEA_ID}),
        ("... on Node { ... on Product { sku } }", {"sku": "tea-1"}, {}),
        ("... on Product { ... on Node { id } }", {"id": ASSAM_ID}, {}),
        ("... on Product { name } ... on Category { name }", {"name": "Assam"}, {"name": "Tea"}),
        ("... on Product { it: name } ... on Category { it: name }", {"it": "Assam"}, {"it": "Tea"}),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_a_fragment_counts_for_objects_of_its_type(
    executors: Executors, selection: str, of_product: object, of_category: object, named: bool
) -> None:
    fragment = f"fragment F on Node {{ {selection} }}" if named else ""
    document = f"{{ {OF_EACH_TYPE} {{ {'...F' if named else selection} }} }} {fragment}"
    assert executors.ask(document) == {"nodes": [of_product, of_category]}


# MergeSelectionSets and CollectSubfields


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ("name name", {"name": "Assam"}),
        ("name ... { name } name", {"name": "Assam"}),
        ("category { name } category { depth }", {"category": {"name": "Tea", "depth": 0}}),
        ("category { name } ... { category { depth } } ...F",
         {"category": {"name": "Tea", "depth": 0, "parent": None}}),
        ("c: category { name } category { name } c: category { depth }",
         {"c": {"name": "Tea", "depth": 0}, "category": {"name": "Tea"}}),
        ("images { url } images { isPrimary }",
         {"images": [{"url": f"https://img.example.com/{name}.jpg", "isPrimary": name == "a"} for name in "ab"]}),
        ("category { children { name } } category { children { depth } }",
         {"category": {"children": [{"name": "Green", "depth": 1}]}}),
        ("category @skip(if: true) { name } category { depth }", {"category": {"depth": 0}}),
    ],
)  # fmt: skip
def test_fields_of_one_name_are_one_field(executors: Executors, selection: str, found: object) -> None:
    fragment = "fragment F on Product { category { parent { name } } }" if "...F" in selection else ""
    assert asked(executors, f"{{ {selection} }}", fragment) == found


def test_pages_of_one_name_are_one_page(executors: Executors) -> None:
    first, second = "products(first: 1) { nodes { name } edges { cursor } }", "products(first: 1) "
    second += "{ totalCount nodes { sku } edges { node { price } } pageInfo { hasNextPage } }"
    third = "products(first: 1) { pageInfo { hasPreviousPage } edges { node { sku } } }"
    [of_edge] = (page := executors.ask(f"{{ {first} {second} {third} }}")["products"])["edges"]
    assert list(page) == ["nodes", "edges", "totalCount", "pageInfo"]
    assert page["nodes"] == [{"name": "Assam", "sku": "tea-1"}]
    assert list(of_edge) == ["cursor", "node"]
    assert of_edge["node"] == {"price": "3.50", "sku": "tea-1"}
    assert page["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": False}


def test_fields_of_one_name_below_an_interface_are_merged_type_by_type(executors: Executors) -> None:
    selection = "... on Product { category { name } } ... on Product { category { depth } } "
    selection += "... on Category { parent { name } children { name } } ... on Node { id }"
    document = f'{{ nodes(ids: ["{ASSAM_ID}", "{SENCHA_ID}", "{TEA_ID}"]) {{ {selection} }} }}'
    assert executors.ask(document)["nodes"] == [
        {"category": {"name": "Tea", "depth": 0}, "id": ASSAM_ID},
        {"category": {"name": "Green", "depth": 1}, "id": SENCHA_ID},
        {"parent": None, "children": [{"name": "Green"}], "id": TEA_ID},
    ]


# The order of the fields


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        ("price name sku", ["price", "name", "sku"]),
        ("name price name sku price", ["name", "price", "sku"]),
        ("sku ...F price", ["sku", "price", "name", "status"]),
        ("... { sku } name ...F", ["sku", "name", "price", "status"]),
        ("category { name } name ...F category { depth }", ["category", "name", "price", "status"]),
        ("status @skip(if: true) name status ...F", ["name", "status", "price"]),
        ("images { url } __typename sku ...F", ["images", "__typename", "sku", "price", "name", "status"]),
    ],
)
def test_fields_are_in_the_order_of_their_first_appearance(
    executors: Executors, selection: str, keys: list[str]
) -> None:
    fragment = "fragment F on Product { price name status }" if "...F" in selection else ""
    assert list(asked(executors, f"{{ {selection} }}", fragment)) == keys


# __typename, and aliases


def test_every_object_has_the_name_of_its_type(executors: Executors) -> None:
    document = """{ __typename products(first: 1) { __typename pageInfo { __typename } edges { __typename } nodes {
        __typename t: __typename category { __typename } images { __typename } stats { __typename } } } }"""
    assert executors.ask(document) == {
        "__typename": "Query",
        "products": {
            "__typename": "ProductConnection",
            "pageInfo": {"__typename": "PageInfo"},
            "edges": [{"__typename": "ProductEdge"}],
            "nodes": [
                {
                    "__typename": "Product",
                    "t": "Product",
                    "category": {"__typename": "Category"},
                    "images": [{"__typename": "ProductImage"}] * 2,
                    "stats": {"__typename": "ProductStats"},
                }
            ],
        },
    }


def test_an_object_of_an_interface_has_the_name_of_its_own_type(executors: Executors) -> None:
    found = executors.ask(f"{{ {OF_EACH_TYPE} {{ __typename ... on Node {{ again: __typename }} }} }}")
    assert found["nodes"] == [{"__typename": name, "again": name} for name in ("Product", "Category")]


def test_a_field_can_stand_under_several_aliases(executors: Executors) -> None:
    document = (
        '{ a: product(sku: "tea-1") { n: name m: name } b: product(sku: "tea-2") { name } product(sku: "x") { name } }'
    )
    assert executors.ask(document) == {"a": {"n": "Assam", "m": "Assam"}, "b": {"name": "Sencha"}, "product": None}


def test_aliases_can_be_the_names_of_other_fields(executors: Executors) -> None:
    assert asked(executors, "{ name: sku sku: name id: price }") == {"name": "tea-1", "sku": "Assam", "id": "3.50"}
    page = executors.ask(
        "{ products(first: 1) { nodes: totalCount edges: nodes { node: sku } totalCount: __typename } }"
    )
    assert page["products"] == {"nodes": 3, "edges": [{"node": "tea-1"}], "totalCount": "ProductConnection"}


@pytest.mark.parametrize(
    "alias", ["None", "class", "lambda", "select", "r", "v", "e0", "c0", "rows", "write", "_", "__", "A1"]
)
def test_an_alias_can_be_any_name(executors: Executors, alias: str) -> None:
    assert asked(executors, f"{{ {alias}: sku category {{ {alias}: name }} images {{ {alias}: isPrimary }} }}") == {
        alias: "tea-1",
        "category": {alias: "Tea"},
        "images": [{alias: True}, {alias: False}],
    }


def test_one_edge_under_two_aliases_has_two_sets_of_arguments(executors: Executors) -> None:
    counts = "a: productCount(includeDescendants: false) b: productCount productCount(includeDescendants: true)"
    found = executors.ask(f"query($id: ID!) {{ category(id: $id) {{ {counts} }} }}", {"id": TEA_ID})
    assert found["category"] == {"a": 1, "b": 2, "productCount": 2}
