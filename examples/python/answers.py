"""The shapes of the answers to examples/operations, as far as they are read.

Amounts and times come as strings: ``decimal.Decimal`` and ``datetime.fromisoformat`` take them. What can be null is so
where a row is gone, where it is not for the viewer, and while its database does not answer.
"""

from typing import TypedDict


class Named(TypedDict):
    name: str


class ProductCategory(Named):
    ancestors: list[Named]


class Stats(TypedDict):
    totalQuantitySold: int


class Product(Named):
    price: str
    category: ProductCategory | None
    stats: Stats | None


class PageInfo(TypedDict):
    hasNextPage: bool
    endCursor: str | None


class Products(TypedDict):
    totalCount: int
    nodes: list[Product]
    pageInfo: PageInfo


class Category(Named):
    productCount: int


class RootCategory(Category):
    children: list[Category]


class Categories(TypedDict):
    nodes: list[RootCategory]


class User(TypedDict):
    firstName: str | None
    lastName: str | None
    email: str


class Address(TypedDict):
    city: str | None
    country: str | None


class Item(TypedDict):
    quantity: int
    lineTotal: str
    productName: str | None
    product: Product | None


class Refund(TypedDict):
    amount: str
    status: str


class Payment(TypedDict):
    amount: str
    currency: str
    method: str
    status: str
    provider: str | None
    refunds: list[Refund]


class Order(TypedDict):
    uuid: str
    status: str
    totalAmount: str
    createdAt: str
    user: User | None
    shippingAddress: Address | None
    items: list[Item]
    payments: list[Payment] | None


class Orders(TypedDict):
    nodes: list[Order]
