"""Ids: a global id or a uuid finds the object, whatever else is refused."""

import base64
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.graph.node import decode_id, encode_id
from tests.factories import TODAY, Make
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio

USER_ID = encode_id("User", "0190b0c0-0000-7000-8000-00000000000a")


async def test_every_root_object_is_found_by_either_id(gateway: Gateway, make: Make) -> None:
    rows = {
        "User": await make.user(),
        "Category": await make.category(),
        "Product": await make.product(),
        "Order": await make.order(),
        "Payment": await make.payment(),
    }
    for name, row in rows.items():
        uuid = str(row["id"])
        expected = {"id": encode_id(name, uuid), "uuid": uuid}
        for given in (uuid, uuid.upper(), encode_id(name, uuid)):
            data = await gateway.ask(f"query($id: ID!) {{ found: {name.lower()}(id: $id) {{ id uuid }} }}", id=given)
            assert data == {"found": expected}
        data = await gateway.ask(f"query($id: ID!) {{ found: {name.lower()}(id: $id) {{ id }} }}", id=str(uuid4()))
        assert data == {"found": None}


async def test_a_user_by_email_whatever_its_case_and_a_product_by_sku(gateway: Gateway, make: Make) -> None:
    user = await make.user(email="Ünal@Example.com")
    product = await make.product(sku="A-1")
    data = await gateway.ask(
        '{ user(email: "üNAL@example.COM") { uuid } product(sku: "A-1") { uuid } other: product(sku: "a-1") { uuid } }'
    )
    assert data == {"user": {"uuid": str(user["id"])}, "product": {"uuid": str(product["id"])}, "other": None}
    assert gateway.counts == {"users": 1, "products": 2}


@pytest.mark.parametrize("arguments", ["", '(id: "x", email: "y")', "(id: null)"])
async def test_exactly_one_argument(gateway: Gateway, arguments: str) -> None:
    data, errors = await gateway.refuse(f"{{ user{arguments} {{ uuid }} }}")
    assert data == {"user": None}
    assert errors == [(["user"], "BAD_USER_INPUT", "Give exactly one of id and email.")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "\0",
        "0" * 36,
        "urn:uuid:0190b0c0-0000-7000-8000-000000000000",
        encode_id("User", "x"),
        base64.b64encode(b"\xff\xfe").decode(),
        "{0190b0c0-0000-7000-8000-000000000000}",
        "a" * 10_000,
        USER_ID + "AAAA",
        USER_ID + "!!!",
        "\n" + USER_ID,
        encode_id("User", "0190B0C0-0000-7000-8000-00000000000A"),
    ],
)
async def test_a_malformed_id_is_refused_before_any_statement(gateway: Gateway, text: str) -> None:
    data, errors = await gateway.refuse("query($id: ID!) { user(id: $id) { uuid } }", id=text)
    assert data == {"user": None}
    assert errors == [(["user"], "BAD_USER_INPUT", "id is neither an id nor a UUID.")]
    assert gateway.statements == []


async def test_the_id_of_another_type_is_refused(gateway: Gateway) -> None:
    _, errors = await gateway.refuse("query($id: ID!) { user(id: $id) { uuid } }", id=encode_id("Order", str(uuid4())))
    assert errors == [(["user"], "BAD_USER_INPUT", "id is the id of another type than User.")]


@pytest.mark.parametrize("argument", ["email", "sku"])
async def test_text_that_postgresql_cannot_hold_is_refused(gateway: Gateway, argument: str) -> None:
    root = {"email": "user", "sku": "product"}[argument]
    query = f"query($x: String) {{ {root}({argument}: $x) {{ uuid }} }}"
    for text in ("a\0b", "\ud800"):
        data, errors = await gateway.refuse(query, x=text)
        assert data == {root: None}
        assert errors == [([root], "BAD_USER_INPUT", f"{argument} has a character that no text can have.")]


async def test_an_order_is_found_by_ids_of_every_version(gateway: Gateway, make: Make) -> None:
    order_id = uuid7(nanoseconds=int(TODAY.timestamp()) * 10**9)
    for uuid in (order_id, uuid4(), UUID(int=uuid4().int & ~(0xC << 60) | (0xE << 60))):
        await make.order(id=uuid)
        data = await gateway.ask("query($id: ID!) { order(id: $id) { uuid } }", id=str(uuid))
        assert data == {"order": {"uuid": str(uuid)}}


async def test_an_id_of_version_7_of_any_time_is_looked_for(gateway: Gateway) -> None:
    for head in ("00000000-0000", "ffffffff-ffff"):
        data = await gateway.ask("query($id: ID!) { order(id: $id) { uuid } }", id=f"{head}-7000-8000-000000000000")
        assert data == {"order": None}


def test_ids_are_the_same_both_ways() -> None:
    uuid = str(uuid4())
    assert decode_id(encode_id("User", uuid), "User") == uuid
