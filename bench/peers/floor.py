"""The floor: the five answers by hand, without GraphQL, as fast as one process of Python can make them.

    python -m bench.peers.floor PORT

A bare ASGI application with a handler for each query: ``GET /order/<uuid>`` and so on. Each asks one statement for each
edge and level, as the gateway does, with keys as one array and what does not depend on each other at the same time, and
writes JSON as text. Nobody is asked who they are, nothing is limited, and a database that fails is a 500: what the
gateway costs more than this is the price of all that.
"""

import asyncio
import sys
from base64 import urlsafe_b64encode
from binascii import b2a_base64
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from json.encoder import encode_basestring as _quoted  # what json.dumps has in C
from typing import Any

import asyncpg
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from app.domains.orders.reads import time_bounds
from app.serving import settle_memory
from app.settings import DATABASE_NAMES, DatabaseName, Settings, load_settings
from bench.peers import floor_sql as sql

Fetch = Callable[..., Awaitable[list[Any]]]
"""Any: a row unpacks into the columns of its statement, which only that knows."""
Lists = dict[str, list[str]]

# As the gateway's sessions: planning over many partitions takes longer than running.
_SESSION = {"TimeZone": "UTC", "plan_cache_mode": "force_generic_plan", "jit": "off"}


def _text(value: str | None) -> str:
    return "null" if value is None else _quoted(value)


def _id(prefix: bytes, uuid: str) -> str:
    """The gateway's global id. Base64 makes of such a text none of the characters that are not safe in a URL."""
    return b2a_base64(prefix + uuid.encode(), newline=False).decode()


def _list(lists: Lists, key: str) -> str:
    return ",".join(lists[key]) if key in lists else ""


def _page_info(rows: list[Any], size: int, cursor: str) -> str:
    more = "true" if len(rows) > size else "false"
    return (
        f'"pageInfo":{{"hasNextPage":{more},"endCursor":"{urlsafe_b64encode(cursor.encode()).decode().rstrip("=")}"}}'
    )


class Floor:
    """A handler for each query, each of which returns the answer as JSON."""

    def __init__(self, users: Fetch, products: Fetch, orders: Fetch, payments: Fetch) -> None:
        self.users = users
        self.products = products
        self.orders = orders
        self.payments = payments

    async def order(self, uuid: str) -> str:
        low, high = time_bounds(uuid)
        found = await self.orders(sql.ORDER_BY_ID, [uuid], [low], [high])
        if not found:
            return '{"data":{"order":null}}'
        [(uuid, status, total, created, user_id)] = found
        users, items, payments = await asyncio.gather(
            self.users(sql.USERS_BY_ID, [user_id]),
            self._order_items(uuid, created),
            self.payments(sql.PAYMENTS_BY_ORDER, [uuid]),
        )
        user = "null"
        for key, email, first, last in users:
            user = (
                f'{{"id":"{_id(b"User:", key)}","email":{_quoted(email)},"firstName":{_text(first)},'
                f'"lastName":{_text(last)}}}'
            )
        paid = ",".join(
            [
                f'{{"id":"{_id(b"Payment:", key)}","amount":"{amount}","currency":{_quoted(currency)},'
                f'"method":{_quoted(method)},"status":"{state.upper()}","createdAt":"{time.isoformat()}"}}'
                for _, key, amount, currency, method, state, time in payments
            ]
        )
        return (
            f'{{"data":{{"order":{{"id":"{_id(b"Order:", uuid)}","status":"{status.upper()}","totalAmount":"{total}",'
            f'"createdAt":"{created.isoformat()}","user":{user},"items":[{items}],"payments":[{paid}]}}}}}}'
        )

    async def _order_items(self, uuid: str, created: object) -> str:
        items = await self.orders(sql.ITEMS_BY_ORDER, [uuid], [created])
        products = await self._whole_products(list({item[5] for item in items}))
        return ",".join(
            [
                f'{{"id":"{_id(b"OrderItem:", key)}","quantity":{quantity},"unitPrice":"{price}",'
                f'"lineTotal":"{total}","product":{products.get(product, "null")}}}'
                for _, key, quantity, price, total, product in items
            ]
        )

    async def _whole_products(self, ids: list[str]) -> dict[str, str]:
        products, images = await asyncio.gather(
            self.products(sql.PRODUCTS_BY_ID, ids), self.products(sql.IMAGES_BY_PRODUCT, ids)
        )
        category_ids = list({product[4] for product in products if product[4] is not None})
        categories, ancestors = await asyncio.gather(
            self.products(sql.CATEGORIES_BY_ID, category_ids), self.products(sql.ANCESTORS, category_ids)
        )
        above: Lists = defaultdict(list)
        for below, key, name in ancestors:
            above[below].append(f'{{"id":"{_id(b"Category:", key)}","name":{_quoted(name)}}}')
        filed = {
            key: f'{{"id":"{_id(b"Category:", key)}","name":{_quoted(name)},"ancestors":[{_list(above, key)}]}}'
            for key, name in categories
        }
        shown: Lists = defaultdict(list)
        for product, url, is_primary in images:
            shown[product].append(f'{{"url":{_quoted(url)},"isPrimary":{"true" if is_primary else "false"}}}')
        return {
            key: f'{{"id":"{_id(b"Product:", key)}","name":{_quoted(name)},"sku":{_text(sku)},'
            f'"category":{filed.get(category, "null")},"images":[{_list(shown, key)}]}}'
            for key, name, _, sku, category in products
        }

    async def account(self, uuid: str) -> str:
        users, orders = await asyncio.gather(
            self.users(sql.USERS_BY_ID, [uuid]), self.orders(sql.ORDERS_BY_USER, [uuid])
        )
        if not users:
            return '{"data":{"user":null}}'
        orders = orders[:20]
        keys = [order[0] for order in orders]
        items, payments = await asyncio.gather(
            self._items(keys, [order[3] for order in orders], with_price=True),
            self.payments(sql.PAYMENTS_BY_ORDER, keys),
        )
        paid: Lists = defaultdict(list)
        for order, _, amount, _, method, state, _ in payments:
            paid[order].append(f'{{"amount":"{amount}","method":{_quoted(method)},"status":"{state.upper()}"}}')
        nodes = ",".join(
            [
                f'{{"id":"{_id(b"Order:", key)}","status":"{status.upper()}","totalAmount":"{total}",'
                f'"createdAt":"{created.isoformat()}","items":[{_list(items, key)}],"payments":[{_list(paid, key)}]}}'
                for key, status, total, created in orders
            ]
        )
        [(_, email, first, last)] = users
        return (
            f'{{"data":{{"user":{{"id":"{_id(b"User:", uuid)}","email":{_quoted(email)},"firstName":{_text(first)},'
            f'"lastName":{_text(last)},"orders":{{"nodes":[{nodes}]}}}}}}}}'
        )

    async def _items(self, orders: list[str], times: list[object], *, with_price: bool) -> Lists:
        """The lines of orders, with products and the names of their categories."""
        items = await self.orders(sql.ITEMS_BY_ORDER, orders, times)
        products = await self.products(sql.PRODUCTS_BY_ID, list({item[5] for item in items}))
        category_ids = list({product[4] for product in products if product[4] is not None})
        filed = {
            key: f'{{"name":{_quoted(name)}}}' for key, name in await self.products(sql.CATEGORIES_BY_ID, category_ids)
        }
        price_of = '"price":"{}",'.format if with_price else "".format
        sold = {
            key: f'{{"id":"{_id(b"Product:", key)}","name":{_quoted(name)},{price_of(price)}'
            f'"category":{filed.get(category, "null")}}}'
            for key, name, price, _, category in products
        }
        lines: Lists = defaultdict(list)
        for order, key, quantity, _, total, product in items:
            lines[order].append(
                f'{{"id":"{_id(b"OrderItem:", key)}","quantity":{quantity},"lineTotal":"{total}",'
                f'"product":{sold.get(product, "null")}}}'
            )
        return lines

    async def backoffice(self, _: str) -> str:
        found = await self.orders(sql.ORDERS)
        orders = found[:100]
        items, users = await asyncio.gather(
            self._items([order[0] for order in orders], [order[3] for order in orders], with_price=False),
            self.users(sql.USERS_BY_ID, list({order[4] for order in orders})),
        )
        bought = {
            key: f'{{"id":"{_id(b"User:", key)}","firstName":{_text(first)},"lastName":{_text(last)}}}'
            for key, _, first, last in users
        }
        nodes = ",".join(
            [
                f'{{"id":"{_id(b"Order:", key)}","status":"{status.upper()}","totalAmount":"{total}",'
                f'"createdAt":"{created.isoformat()}","user":{bought.get(user, "null")},"items":[{_list(items, key)}]}}'
                for key, status, total, created, user in orders
            ]
        )
        cursor = f'[1,"-orders.created_at,-orders.id","{orders[-1][3].isoformat()}","{orders[-1][0]}"]'
        return f'{{"data":{{"orders":{{"nodes":[{nodes}],{_page_info(found, 100, cursor)}}}}}}}'

    async def tree(self, _: str) -> str:
        roots = await self.products(sql.ROOTS)
        children = await self.products(sql.CHILDREN, [root[0] for root in roots])
        leaves = await self.products(sql.CHILDREN, [child[1] for child in children])
        pages: Lists = defaultdict(list)
        for category, key, name, price in await self.products(sql.PRODUCTS_BY_CATEGORY, [leaf[1] for leaf in leaves]):
            pages[category].append(f'{{"id":"{_id(b"Product:", key)}","name":{_quoted(name)},"price":"{price}"}}')
        pages = {category: page[:5] for category, page in pages.items()}
        third: Lists = defaultdict(list)
        for parent, key, name in leaves:
            third[parent].append(f'{_category(key, name)},"products":{{"nodes":[{_list(pages, key)}]}}}}')
        second: Lists = defaultdict(list)
        for parent, key, name in children:
            second[parent].append(f'{_category(key, name)},"children":[{_list(third, key)}]}}')
        first = ",".join([f'{_category(key, name)},"children":[{_list(second, key)}]}}' for key, name in roots[:100]])
        return f'{{"data":{{"categories":{{"nodes":[{first}]}}}}}}'

    async def list(self, _: str) -> str:
        found = await self.products(sql.PRODUCTS)
        nodes = ",".join(
            [
                f'{{"id":"{_id(b"Product:", key)}","name":{_quoted(name)},"price":"{price}","sku":{_text(sku)},'
                f'"status":"{status.upper()}","createdAt":"{created.isoformat()}"}}'
                for key, name, price, sku, status, created in found[:100]
            ]
        )
        key, name, *_rest = found[:100][-1]
        cursor = f'[1,"products.name,products.id",{_quoted(name)},"{key}"]'
        return f'{{"data":{{"products":{{"nodes":[{nodes}],{_page_info(found, 100, cursor)}}}}}}}'

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        name, _, uuid = scope["path"][1:].partition("/")
        body = (await getattr(self, name)(uuid)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _category(key: str, name: str) -> str:
    return f'{{"id":"{_id(b"Category:", key)}","name":{_quoted(name)}'


async def _keep(_: object) -> None:
    """What the driver does by default with a connection that comes back, RESET ALL and more, costs a round trip."""


def _pool(name: DatabaseName, settings: Settings) -> "asyncpg.Pool[asyncpg.Record]":
    size = settings.pool_size
    return asyncpg.create_pool(
        settings.database_url(name),
        min_size=size,
        max_size=size,
        max_inactive_connection_lifetime=0,  # or each release would set a timer
        reset=_keep,
        server_settings=_SESSION,
    )


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until a signal ends it. The databases and POOL_SIZE are those of the environment."""
    settings = load_settings()
    async with AsyncExitStack() as stack:
        pools: Iterable[Any] = [await stack.enter_async_context(_pool(name, settings)) for name in DATABASE_NAMES]
        floor = Floor(*(pool.fetch for pool in pools))
        config = uvicorn.Config(
            floor, port=port, http="httptools", lifespan="off", log_level="warning", access_log=False
        )
        settle_memory()
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
