"""Nobody sees what is another's: every path of the schema to every type is walked as everybody, past real secrets."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from graphql import GraphQLField, GraphQLNamedType, GraphQLObjectType, get_named_type, is_leaf_type
from strawberry.types.field import StrawberryField

from app.graph.declarations import Connection, Edge, declared
from app.graph.node import encode_id
from app.graph.visibility import ADMIN as FOR_STAFF
from app.graph.visibility import PUBLIC, visibility
from app.viewer import NOBODY, Viewer
from tests.factories import Make, Row
from tests.graph.conftest import ADMIN, SCHEMA, Gateway, customer

pytestmark = pytest.mark.anyio
CORE = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through
OWNED = ("User", "UserProfile", "Order", "OrderItem", "Payment", "Refund")
WIDE = {"max_depth": 100, "max_cost": 10**9, "max_fields": 10_000}


@dataclass(frozen=True)
class Person:
    """A user with a row in every table that has an owner. ``secrets`` are texts that only its owner and staff see."""

    viewer: Viewer
    rows: dict[str, Row]
    product: Row
    secrets: frozenset[str]
    staff_secrets: frozenset[str]

    def id(self, type_name: str) -> str:
        return encode_id(type_name, str(self.rows[type_name]["id"]))


async def person(make: Make, name: str, number: int) -> Person:
    product = await make.product(name=f"Product of {name}")
    await make.image(product_id=product["id"], is_primary=True)
    user = await make.user(email=f"{name}@example.com", first_name=f"first-{name}", last_name=f"last-{name}")
    profile = await make.profile(user_id=user["id"], phone=f"phone-{name}", city=f"city-{name}")
    money = f"{number}000.01"
    order = await make.order(user_id=user["id"], shipping_address_id=profile["id"], total_amount=money)
    item = await make.item(
        order, product_id=product["id"], unit_price=f"{number}00.02", quantity=7, product_name=f"sold-{name}"
    )
    payment = await make.payment(
        order_id=order["id"],
        amount=f"{number}000.03",
        method=f"method-{name}",
        provider=f"provider-{name}",
        provider_reference=f"reference-{name}",
    )
    refund = await make.refund(payment_id=payment["id"], amount=f"{number}00.04", reason=f"reason-{name}")
    rows: dict[str, Row] = dict(zip(OWNED, (user, profile, order, item, payment, refund), strict=True))
    keys = {str(row["id"]) for row in rows.values()} | {encode_id(of, str(row["id"])) for of, row in rows.items()}
    texts = {f"{word}-{name}" for word in ("first", "last", "phone", "city", "sold", "method", "reason")}
    amounts = {money, f"{number}00.02", f"{number}000.03", f"{number}00.04"}
    # What the product brought in is seven times its price, which one sees of one's own lines, as their total.
    staff = frozenset({f"provider-{name}", f"reference-{name}"})
    return Person(
        customer(user), rows, product, frozenset(keys | texts | amounts | {f"{name}@example.com"}) | staff, staff
    )


def named(field: GraphQLField) -> GraphQLNamedType:
    """The type of a field, behind lists and what is not null."""
    return get_named_type(field.type)  # pyright: ignore -- its type parameters are left open there


def selection(type_: GraphQLObjectType) -> str:
    """Every leaf of a type."""
    return " ".join(name for name, field in type_.fields.items() if is_leaf_type(named(field)))


def steps(type_: GraphQLObjectType) -> Iterator[tuple[str, GraphQLObjectType, bool]]:
    """The fields of a type that lead to objects: their names, the types, and whether by a page."""
    for name, field in type_.fields.items():
        definition = field.extensions["strawberry-definition"]
        if not isinstance(definition, StrawberryField) or not isinstance(declared(definition), Edge | Connection):
            continue
        target = named(field)
        if isinstance(target, GraphQLObjectType):
            yield name, *rows_of(target)


def rows_of(type_: GraphQLObjectType) -> tuple[GraphQLObjectType, bool]:
    if not type_.name.endswith("Connection"):
        return type_, False
    node = named(type_.fields["nodes"])
    assert isinstance(node, GraphQLObjectType)
    return node, True


def paths(type_: GraphQLObjectType, passed: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The selections below an object that lead to one type each, by every way that passes no type twice."""
    yield selection(type_), type_.name
    for name, target, by_page in steps(type_):
        if target.name in passed:
            continue
        for below, end in paths(target, passed | {target.name}):
            pages = ("nodes { %s }", "totalCount edges { cursor node { %s } }") if by_page and below[0] != "{" else None
            inner = (pages[len(below) % 2] if pages else "%s") % below
            yield f"{name} {{ {inner} }}", end


def roots(victim: Person) -> Iterator[tuple[str, GraphQLObjectType]]:
    """Every way into the graph that could lead to the victim: a format of a query, and the type that it asks."""
    query = CORE.query_type
    assert query is not None
    arguments = {
        "user": [f'id: "{victim.id("User")}"', f'email: "{victim.rows["User"]["email"].upper()}"'],
        "order": [f'id: "{victim.id("Order")}"', f'id: "{victim.rows["Order"]["id"]}"'],
        "payment": [f'id: "{victim.id("Payment")}"'],
        "product": [f'id: "{victim.product["id"]}"'],
        "category": [f'id: "{victim.product["category_id"]}"'],
    }
    for name, field in query.fields.items():
        target = named(field)
        if name in ("node", "nodes"):
            continue
        assert isinstance(target, GraphQLObjectType)
        type_, by_page = rows_of(target)
        for given in arguments.get(name, [""]):
            call = f"{name}({given})" if given else name
            yield (f"{{ {call} {{ nodes {{ %s }} totalCount }} }}" if by_page else f"{{ {call} {{ %s }} }}"), type_
    for type_name in (*OWNED, "Product"):
        type_ = CORE.type_map[type_name]
        assert isinstance(type_, GraphQLObjectType)
        node_id = encode_id("Product", str(victim.product["id"])) if type_name == "Product" else victim.id(type_name)
        yield f'{{ node(id: "{node_id}") {{ ... on {type_name} {{ %s }} }} }}', type_
        yield f'{{ nodes(ids: ["{node_id}"]) {{ ... on {type_name} {{ %s }} }} }}', type_


async def told(gateway: Gateway, query: str, viewer: Viewer) -> str:
    """All of an answer, as text."""
    result = await gateway.execute(query, viewer=viewer)
    assert "INTERNAL" not in str(result.errors), query
    assert "data" in query or result.data is not None, (query, result.errors)
    return json.dumps([result.data, result.errors, result.extensions])


async def test_no_path_leads_to_what_is_another_s(gateway: Gateway, make: Make) -> None:
    gateway = gateway.limited(**WIDE)
    category = await make.category(name="All")
    victim, other = await person(make, "victim", 41), await person(make, "other", 53)
    await make.execute("products", "UPDATE products SET category_id = $1", category["id"])
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    victim.product["category_id"] = category["id"]
    # An order of the other's that goes to the victim's address, and one that sold what the victim bought.
    gift = await make.order(user_id=other.viewer.user, shipping_address_id=victim.rows["UserProfile"]["id"])
    await make.item(gift, product_id=victim.product["id"])
    reached: set[str] = set()
    seen_by_owner: set[str] = set()
    seen_by_staff: set[str] = set()
    number = 0
    for root, type_ in roots(victim):
        for selected, _ in paths(type_, frozenset({type_.name})):
            query = root % selected
            number += 1
            for viewer in (NOBODY, other.viewer):
                text = await told(gateway, query, viewer)
                assert not [secret for secret in victim.secrets if secret in text], (query, viewer, text)
                assert viewer == NOBODY or not [secret for secret in other.staff_secrets if secret in text], query
            own = await told(gateway, query, victim.viewer)
            assert not [secret for secret in other.secrets | victim.staff_secrets if secret in own], (query, own)
            seen_by_owner |= {secret for secret in victim.secrets if secret in own}
            everything = await told(gateway, query, ADMIN)
            assert everything == await told(gateway, query, Viewer(str(uuid4()), "s", "support"))
            assert "UNAUTHENTICATED" not in everything
            assert "FORBIDDEN" not in everything
            seen_by_staff |= {secret for secret in victim.secrets if secret in everything}
            reached.add(selected)
    assert number > 300
    # What was looked for is there to be found: the owner finds all but what is for staff, and staff find all.
    assert seen_by_owner == victim.secrets - victim.staff_secrets
    assert seen_by_staff == victim.secrets


async def test_revenue_and_order_lines_of_a_product_are_for_staff(gateway: Gateway, make: Make) -> None:
    victim = await person(make, "victim", 41)
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    query = """query($id: ID!) { product(id: $id) {
      stats { totalOrders totalRevenue } orderItems { totalCount nodes { quantity } } } }"""
    for viewer, code in ((NOBODY, "UNAUTHENTICATED"), (victim.viewer, "FORBIDDEN")):
        data, errors = await gateway.refuse(query, viewer=viewer, id=str(victim.product["id"]))
        assert data == {"product": {"stats": {"totalOrders": 1, "totalRevenue": None}, "orderItems": None}}
        assert sorted((path, code) for path, code, _ in errors) == [
            (["product", "orderItems"], code),
            (["product", "stats", "totalRevenue"], code),
        ]
    found = await gateway.ask(query, id=str(victim.product["id"]))
    assert found["product"]["stats"]["totalRevenue"] == "28700.14"
    assert found["product"]["orderItems"]["totalCount"] == 1


LOOKUPS = [
    ('user(id: "{id}")', "User"),
    ('order(id: "{id}")', "Order"),
    ('payment(id: "{id}")', "Payment"),
    *((f'node(id: "{{global_id}}") {{{{ ... on {name} {{{{ uuid }}}} }}}} #', name) for name in OWNED),
    ('orders(where: {{id: {{eq: "{id}"}}}}) {{ totalCount nodes {{ id }} }} #', "Order"),
    ('orders(where: {{userId: {{ne: "{id}"}}}}) {{ totalCount }} #', "User"),
    ('payments(where: {{orderId: {{in: ["{id}"]}}}}) {{ totalCount nodes {{ id }} }} #', "Order"),
]


@pytest.mark.parametrize(("lookup", "type_name"), LOOKUPS)
@pytest.mark.parametrize("is_signed_in", [True, False])
async def test_a_foreign_object_and_an_unknown_one_answer_alike(
    gateway: Gateway, make: Make, lookup: str, type_name: str, is_signed_in: bool
) -> None:
    victim, other = await person(make, "victim", 41), await person(make, "other", 53)
    viewer = other.viewer if is_signed_in else NOBODY
    answers: list[Any] = []
    for uuid in (str(victim.rows[type_name]["id"]), str(uuid4())):
        text = lookup.format(id=uuid, global_id=encode_id(type_name, uuid))
        query = f"{{ {text} {{ uuid }} \n }}" if "#" not in text else f"{{ {text}\n }}"
        result = await gateway.execute(query, viewer=viewer)
        answers.append([result.data, result.errors])
    assert answers[0] == answers[1]


async def test_nothing_is_asked_for_nobody(gateway: Gateway) -> None:
    """Where there is nothing to see, no statement is sent."""
    for root in ("users { totalCount }", "orders { totalCount }", "payments { totalCount }", 'order(id: "%s") { id }'):
        query = root % uuid4() if "%" in root else root
        data, errors = await gateway.refuse(f"{{ {query} }}", viewer=NOBODY)
        assert data == {query.split(" ")[0].split("(")[0]: None}
        assert [code for _, code, _ in errors] == ["UNAUTHENTICATED"]
        assert gateway.statements == []


async def test_a_customers_payments_take_one_statement_more(gateway: Gateway, make: Make) -> None:
    """Which orders are one's own, the orders database says, once an operation."""
    own = await person(make, "own", 41)
    query = "{ orders { nodes { payments { amount refunds { amount } } } } payments { nodes { amountRefunded } } }"
    await gateway.ask(query)
    assert gateway.counts == {"orders": 1, "payments": 4}
    found = await gateway.ask(query, viewer=own.viewer)
    assert gateway.counts == {"orders": 2, "payments": 4}
    assert found["orders"]["nodes"][0]["payments"][0]["refunds"] == [{"amount": "4100.04"}]


def test_every_field_says_who_may_see_it_and_no_public_type_has_an_owner() -> None:
    for type_name in OWNED:
        type_ = CORE.type_map[type_name]
        assert isinstance(type_, GraphQLObjectType)
        for name, field in type_.fields.items():
            assert visibility(field.extensions["strawberry-definition"]) not in (None, PUBLIC), f"{type_name}.{name}"
    query = CORE.query_type
    assert query is not None
    assert visibility(query.fields["users"].extensions["strawberry-definition"]) is FOR_STAFF
