"""What the audit looks for: each check as data, with the statements that it runs and what to do about a find.

A check within one database is one statement, whose rows are what is wrong. One between two databases is two sorted
statements, whose rows ``audit_merge.matched`` puts side by side.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Table

from app.operations.audit_merge import Row
from app.operations.contents import tables_of
from app.settings import DATABASE_NAMES, DatabaseName


@dataclass(frozen=True)
class Counterpart:
    """The other side of a comparison: a statement in order of its first column, and which pairs are wrong."""

    database: DatabaseName
    sql: str
    is_fault: Callable[[Any, Row | None], bool]
    """Called with each row of the check's own statement and the one here that has the same first column, or None."""
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a sample shows for a row that is not here."""


@dataclass(frozen=True)
class Check:
    """One kind of fault."""

    name: str
    fault: str
    """What is wrong with the rows that it finds, as what follows their number."""
    repair: str
    database: DatabaseName
    sql: str
    """Its rows are what is wrong; with a counterpart, what to look at, in order of the first column."""
    counterpart: Counterpart | None = None
    sample: str | None = None
    """Where a row stands for many, as many as its last column says: lists some of them. Its parameters are the columns
    before that, and how many to list."""
    kept_by: str | None = None
    """What in the database refuses such rows, for as long as nobody drops or disables it."""

    @property
    def databases(self) -> set[DatabaseName]:
        """Those that it reads."""
        other = self.counterpart
        return {self.database, other.database} if other else {self.database}


_AGAIN = "Then put back what refuses such rows (--list has its name): `storegraph db check` says what is missing."
_RESTORE = {
    "orders.user_id": "Users are deleted by deleted_at, never by DELETE: restore them from a backup. Until then "
    "Order.user is null, and the orders are nobody's.",
    "orders.shipping_address_id": "Restore the addresses from a backup. Until then Order.shippingAddress is null; what "
    "has not been shipped cannot be.",
    "order_items.product_id": "Products are deleted by deleted_at, never by DELETE: restore them from a backup. Until "
    "then OrderItem.product is null; product_name and product_sku of the line say what was sold.",
    "payments.order_id": "Orders of a quarter that `storegraph partitions detach` took out come back with it; others "
    "from a backup. Where there never was one, give the money back at the provider; keep the payment's row as proof.",
}


def _references_across() -> Iterator[Check]:
    """A check for each column that says which table of another database it points into."""
    for name in DATABASE_NAMES:
        for table in tables_of(name):
            for column in table.columns:
                if target := column.info.get("refers_to"):
                    yield _across(name, table, column, target)


def _across(name: DatabaseName, table: Table, column: Column[Any], target: str) -> Check:
    database, there, its_column = target.split(".")
    check = f"{table.name}.{column.name}"
    return Check(
        name=check,
        fault=f"rows of {table.name} whose {column.name} names no row of {there}",
        repair=_RESTORE.get(check, f"Restore the rows of {there} from a backup."),
        database=name,
        sql=f"SELECT {column.name}, count(*) FROM {table.name} WHERE {column.name} IS NOT NULL GROUP BY 1 ORDER BY 1",
        counterpart=Counterpart(
            next(known for known in DATABASE_NAMES if known == database),
            f"SELECT {its_column} FROM {there} ORDER BY 1",
            lambda _, match: match is None,
        ),
        sample=f"SELECT {_keys(table)}, {column.name} FROM {table.name} WHERE {column.name} = $1 LIMIT $2",
    )


def _references_within() -> Iterator[Check]:
    """A check for each foreign key."""
    for name in DATABASE_NAMES:
        for table in tables_of(name):
            for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name)):
                yield _within(name, table, key)


def _within(name: DatabaseName, table: Table, key: ForeignKeyConstraint) -> Check:
    there = key.referred_table.name
    pairs = [(element.parent.name, element.column.name) for element in key.elements]
    gone = " AND ".join(
        [f"c.{element.parent.name} IS NOT NULL" for element in key.elements if element.parent.nullable]
        + [f"NOT EXISTS (SELECT FROM {there} t WHERE {' AND '.join(f't.{its} = c.{own}' for own, its in pairs)})"]
    )
    # As the foreign key would have done, or would allow to.
    start = f"DELETE FROM {table.name} c" if key.ondelete else f"UPDATE {table.name} c SET {pairs[0][0]} = NULL"
    columns = dict.fromkeys([*(column.name for column in table.primary_key), *(own for own, _ in pairs)])
    return Check(
        name=f"{table.name}.{pairs[0][0]}",
        fault=f"rows of {table.name} whose {pairs[0][0]} names no row of {there}",
        repair=f"Restore the rows of {there} from a backup, or do without:\n{start}\n    WHERE {gone};\n{_AGAIN}",
        database=name,
        sql=f"SELECT {', '.join(columns)} FROM {table.name} c WHERE {gone}",
        kept_by=str(key.name),
    )


def _keys(table: Table) -> str:
    return ", ".join(column.name for column in table.primary_key)


_PAID = ("paid", "shipped", "delivered", "refunded")


def _is_paid_wrongly(order: Any, payments: Row | None) -> bool:
    """Too much is always wrong, too little where the order's status says that it was paid."""
    paid = payments[1] if payments else 0
    return paid > order["total_amount"] or (paid < order["total_amount"] and order["status"] in _PAID)


_MONEY = (
    Check(
        name="order-totals",
        fault="orders whose total is not the sum of their lines",
        repair="See which of the two was paid (payment-totals). Where the lines are right, of one order:\n"
        "UPDATE orders o SET total_amount = (SELECT coalesce(sum(quantity * unit_price), 0) FROM order_items i\n"
        "    WHERE i.order_id = o.id AND i.order_created_at = o.created_at) WHERE id = '…' AND created_at = '…';",
        database="orders",
        sql="""
            SELECT o.id, o.created_at, o.total_amount, coalesce(l.total, 0) AS lines FROM orders o LEFT JOIN (
                SELECT order_id, order_created_at, sum(quantity * unit_price) AS total FROM order_items GROUP BY 1, 2
            ) l ON l.order_id = o.id AND l.order_created_at = o.created_at
            WHERE o.total_amount <> coalesce(l.total, 0)
            """,
    ),
    Check(
        name="payment-totals",
        fault="orders that were paid more than their total, or less although their status says that they were paid",
        repair="Compare with the provider's books. Too much: refund the difference. Too little: the payment's row was "
        "lost, or the order's status is wrong; where it never was paid:\n"
        "UPDATE orders SET status = 'pending' WHERE id = '…';",
        database="orders",
        # What changed after the first snapshot, that of the payments, can have a payment that is not in it.
        sql="SELECT id, status, total_amount FROM orders "
        "WHERE updated_at <= current_setting('storegraph.audit_began')::timestamptz ORDER BY id",
        counterpart=Counterpart(
            "payments",
            """
            SELECT order_id, sum(amount) AS paid FROM payments WHERE status IN ('authorized', 'captured', 'refunded')
            GROUP BY 1 ORDER BY 1
            """,
            _is_paid_wrongly,
            absent={"paid": "0.00"},
        ),
    ),
    Check(
        name="refund-totals",
        fault="payments whose refunds, without those that failed, sum to more than they are",
        repair="Compare with the provider's books. Of a refund that did not happen there:\n"
        f"UPDATE refunds SET status = 'failed' WHERE id = '…';\n{_AGAIN}",
        database="payments",
        sql="""
            SELECT p.id, p.amount, sum(r.amount) AS refunded FROM payments p JOIN refunds r ON r.payment_id = p.id
            WHERE r.status <> 'failed' GROUP BY p.id HAVING sum(r.amount) > p.amount
            """,
        kept_by="refunds_refuse_excess, payments_refuse_amount_below_refunds",
    ),
    Check(
        name="refund-states",
        fault="payments whose status and whose refunds disagree",
        repair="Compare with the provider's books. A payment is refunded when its refunds that succeeded sum to it, "
        "and captured when they sum to less:\nUPDATE payments SET status = '…' WHERE id = '…';",
        database="payments",
        sql="""
            SELECT p.id, p.status, p.amount, coalesce(r.total, 0) AS refunded FROM payments p LEFT JOIN (
                SELECT payment_id, sum(amount) AS total FROM refunds WHERE status = 'succeeded' GROUP BY 1
            ) r ON r.payment_id = p.id
            WHERE CASE WHEN p.status = 'refunded' THEN coalesce(r.total, 0) < p.amount
                ELSE r.total > 0 AND (p.status <> 'captured' OR r.total >= p.amount) END
            """,
    ),
)

_REST = (
    Check(
        name="order-addresses",
        fault="orders that go to an address of another user",
        repair="Ask where they went, or are to go. To an address of the order's own user:\n"
        "UPDATE orders SET shipping_address_id = '…' WHERE id = '…';",
        database="orders",
        sql="SELECT shipping_address_id, user_id, count(*) FROM orders GROUP BY 1, 2 ORDER BY 1",
        counterpart=Counterpart(
            "users",
            "SELECT id, user_id FROM user_profiles WHERE user_id IS NOT NULL ORDER BY 1",
            lambda order, profile: profile is not None and profile[1] != order[1],
        ),
        sample="SELECT id, created_at, user_id, shipping_address_id FROM orders "
        "WHERE shipping_address_id = $1 AND user_id = $2 LIMIT $3",
    ),
    *(
        Check(
            name=f"{table}.id",
            fault=f"ids that more than one row of {table} has, with different times",
            repair=f"A look-up by id finds one of them. See which is right, and delete the other:\n"
            f"DELETE FROM {table} WHERE id = '…' AND {time} = '…';",
            database="orders",
            sql=f"SELECT id, min({time}) AS first, max({time}) AS last FROM {table} GROUP BY 1 HAVING count(*) > 1",
        )
        for table, time in (("orders", "created_at"), ("order_items", "order_created_at"))
    ),
    Check(
        name="category-cycles",
        fault="categories that are below themselves",
        repair="They and all below them are in no tree. Make one of each circle a root, or put it where it belongs:\n"
        f"UPDATE categories SET parent_id = NULL WHERE id = '…';\n{_AGAIN}",
        database="products",
        # Only what no root is above is walked upwards: nothing, as a rule.
        sql="""
            WITH RECURSIVE rooted AS (
                SELECT id FROM categories c WHERE parent_id IS NULL
                    OR NOT EXISTS (SELECT FROM categories p WHERE p.id = c.parent_id)
                UNION ALL SELECT c.id FROM rooted r JOIN categories c ON c.parent_id = r.id
            ), lost AS MATERIALIZED (
                SELECT id, parent_id FROM categories c WHERE NOT EXISTS (SELECT FROM rooted r WHERE r.id = c.id)
            ), above AS (
                SELECT id, parent_id AS ancestor FROM lost
                UNION SELECT a.id, l.parent_id FROM above a JOIN lost l ON l.id = a.ancestor
            )
            SELECT c.id, c.parent_id, c.name FROM above a JOIN categories c USING (id) WHERE a.ancestor = a.id
            """,
        kept_by="categories_refuse_cycle",
    ),
    Check(
        name="stock",
        fault="products with less than nothing in stock",
        repair="Count what is there; or, until then:\n"
        f"UPDATE products SET stock_quantity = 0 WHERE stock_quantity < 0;\n{_AGAIN}",
        database="products",
        sql="SELECT id, sku, stock_quantity FROM products WHERE stock_quantity < 0",
        kept_by="check_stock_not_negative",
    ),
)

CHECKS: tuple[Check, ...] = (*_references_across(), *_MONEY, *_REST, *_references_within())
