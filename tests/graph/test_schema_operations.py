"""A client's documents: which fragments an operation means, in which files, and how a fault in them is told."""

import pytest

from app.errors import OperationError
from app.graph.schema_operations import Broken, Operations, find_broken
from app.graph.schema_text import read_schema
from tests.graph.schemas import SCHEMA, SDL, without

LINES = "fragment Lines on Order {\n  items {\n    ...Line\n  }\n}\n"
LINE = "fragment Line on OrderItem {\n  quantity\n  unitPrice\n}\n"
ORDERS = "query Orders {\n  orders(first: 2) { nodes { id ...Lines } }\n}\n"
NO_PRICE = read_schema(without("OrderItem", "unitPrice"), "new")


def found(texts: dict[str, str]) -> list[tuple[str, int, str, str]]:
    broken = find_broken(Operations(texts), SCHEMA, NO_PRICE)
    return [(of.file, of.line, of.operation, of.effect) for of in broken]


def test_a_fault_in_a_fragment_is_told_of_each_operation_that_needs_it_at_the_fragments_own_place() -> None:
    other = "query Other { order(id: 1) { items { quantity } } }\nquery { order(id: 1) { ...Lines } }"
    texts = {"orders.graphql": ORDERS, "parts/lines.graphql": LINES, "parts/line.gql": LINE, "other.graphql": other}
    place = ("parts/line.gql", 3)
    assert found(texts) == [(*place, "query Orders", "refused"), (*place, "query without a name", "refused")]
    [message] = {of.message for of in find_broken(Operations(texts), SCHEMA, NO_PRICE)}
    assert message.startswith("Cannot query field 'unitPrice' on type 'OrderItem'.")


def test_a_fragment_that_no_operation_needs_stands_for_itself() -> None:
    assert found({"line.graphql": LINE}) == [("line.graphql", 3, "fragment Line", "refused")]
    assert Operations({"line.graphql": LINE, "lines.graphql": LINES, "o.graphql": ORDERS}).count == 1


def test_a_file_s_own_fragment_comes_before_another_s() -> None:
    own = "query Mine { order(id: 1) { items { ...Line } } }\nfragment Line on OrderItem { quantity }"
    assert found({"a.graphql": own, "line.graphql": LINE}) == [("line.graphql", 3, "fragment Line", "refused")]


def test_two_fragments_that_could_be_meant_are_an_error() -> None:
    with pytest.raises(OperationError, match=r"^l\.graphql spreads Line, and a\.graphql and b\.graphql each have a"):
        Operations({"a.graphql": LINE, "b.graphql": LINE, "l.graphql": LINES})


def test_fragments_in_a_circle_end() -> None:
    circle = "fragment A on Order { id ...B }\nfragment B on Order { id ...A }"
    assert {effect for *_, effect in found({"a.graphql": circle})} == {"refused before"}


def test_what_was_refused_before_is_told_as_such() -> None:
    wrong = "query Wrong { orders { nodes { sum items { unitPrice } } } }\nquery Lost { order(id: 1) { ...Gone } }"
    assert found({"wrong.graphql": wrong}) == [
        ("wrong.graphql", 1, "query Wrong", "refused before"),
        ("wrong.graphql", 1, "query Wrong", "refused before"),
        ("wrong.graphql", 2, "query Lost", "refused before"),
    ]


def test_an_operation_ahead_of_the_old_schema_is_fine_where_the_new_one_takes_it() -> None:
    ahead = Operations({"ahead.graphql": "{ orders { nodes { sum } } }"})
    new = read_schema(
        SDL.replace("type Order implements Node {", "type Order implements Node {\n  sum: Decimal!"), "new"
    )
    assert find_broken(ahead, SCHEMA, new) == []


def test_a_change_that_counts_as_safe_can_break_an_operation() -> None:
    """Two fields that are merged have to be of one type: one that is never null any more is another type."""
    both = "{ node(id: 1) { ... on Product { name } ... on Category { name } } }".replace("name", "text: description")
    new = read_schema(SDL.replace("  description: String\n", "  description: String!\n", 1), "new")
    [broken] = find_broken(Operations({"both.graphql": both}), SCHEMA, new)
    assert broken.effect == "refused"
    assert "conflicting types" in broken.message


def test_types_are_passed_over_and_what_is_no_graphql_is_refused() -> None:
    assert Operations({"schema.graphql": SDL, "empty.graphql": " \n"}).count == 0
    with pytest.raises(OperationError, match=r"^bad\.graphql, line 2: Syntax Error: "):
        Operations({"bad.graphql": "query {\n  !"})


def test_a_removed_type_is_named_at_its_fragment() -> None:
    new = SDL.replace("type ProductImage ", "type Picture ").replace("ProductImage", "Picture")
    operations = Operations(
        {"i.graphql": "query I($id: ID!) { node(id: $id) { ...P } }\nfragment P on ProductImage { url }"}
    )
    [broken] = find_broken(operations, SCHEMA, read_schema(new, "new"))
    assert (broken.line, broken.operation, broken.effect) == (2, "query I", "refused")
    assert isinstance(broken, Broken)
    assert "'ProductImage'" in broken.message
