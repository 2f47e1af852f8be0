"""A shop so small that an answer can be written down: what the tests of the GraphQL specification ask."""

from datetime import timedelta
from uuid import UUID

from app.graph.node import encode_id
from tests.factories import TODAY, Make


def _uuid(number: int) -> str:
    return str(UUID(int=number, version=4))


ADA, BOB = _uuid(1), _uuid(2)
TEA, GREEN, MUGS = _uuid(3), _uuid(4), _uuid(5)
ASSAM, SENCHA, BEAKER = _uuid(6), _uuid(7), _uuid(8)
PAID, EMPTY = _uuid(9), _uuid(10)
PAYMENT = _uuid(11)
NOTHING = _uuid(999)
"""The uuid of no row."""

DIFFICULT = 'quoted "text" \\ / </script> {0} %s \t\r\n\x01\x7f \u2028 é 𝄞'
"""A text with all that JSON, or what writes it, could trip over."""

ASSAM_ID, SENCHA_ID, BEAKER_ID = (encode_id("Product", uuid) for uuid in (ASSAM, SENCHA, BEAKER))
TEA_ID, ADA_ID, PAYMENT_ID = encode_id("Category", TEA), encode_id("User", ADA), encode_id("Payment", PAYMENT)
NOTHING_ID = encode_id("Product", NOTHING)


async def fill(make: Make) -> None:
    """Tea with green tea below it, and mugs; three products; two users; two orders of the first, one with lines."""
    await make.user(id=ADA, email="ada@example.com", first_name="Ada")
    await make.user(id=BOB, email="bob@example.com")
    address = await make.profile(user_id=ADA, city="Lyon")
    await make.category(id=TEA, name="Tea")
    await make.category(id=GREEN, name="Green", parent_id=TEA)
    await make.category(id=MUGS, name="Mugs")
    await make.product(id=ASSAM, name="Assam", description=DIFFICULT, sku="tea-1", price="3.50", category_id=TEA)
    await make.product(id=SENCHA, name="Sencha", sku="tea-2", price="4.00", category_id=GREEN)
    await make.product(id=BEAKER, name="Beaker", sku="mug-1", price="9.00", status="inactive")
    await make.image(product_id=ASSAM, url="https://img.example.com/a.jpg", is_primary=True)
    await make.image(product_id=ASSAM, url="https://img.example.com/b.jpg")
    paid = await make.order(
        id=PAID, user_id=ADA, shipping_address_id=address["id"], status="paid", total_amount="11.00"
    )
    await make.order(id=EMPTY, user_id=ADA, total_amount="0.00", created_at=TODAY - timedelta(seconds=1))
    await make.item(paid, id=_uuid(12), product_id=ASSAM, quantity=2, unit_price="3.50")
    await make.item(paid, id=_uuid(13), product_id=SENCHA, quantity=1, unit_price="4.00")
    await make.payment(id=PAYMENT, order_id=PAID, amount="11.00", provider="bank")
    await make.refund(payment_id=PAYMENT, amount="1.00", status="succeeded")
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
