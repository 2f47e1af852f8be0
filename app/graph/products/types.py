"""Category, Product and ProductImage."""

import strawberry

from app.domains.orders import reads as order_reads
from app.domains.products import reads as product_reads
from app.domains.products import tables
from app.graph.connection import Connection
from app.graph.declarations import Choice, IntArgument
from app.graph.enums import describe_enum
from app.graph.fields import column, connection, edge
from app.graph.lazy import OrderItemConnection, ProductStats
from app.graph.node import Node
from app.graph.products.inputs import ProductOrderBy, ProductWhere
from app.graph.scalars import UUID, DateTime, Decimal
from app.graph.visibility import ADMIN, PUBLIC
from app.reads import TOTAL

describe_enum(
    tables.ProductStatus,
    "Whether a product is for sale.",
    ACTIVE="It is.",
    INACTIVE="It is not, for now.",
)


@strawberry.type(description="A node of the category tree.")
class Category(Node):
    id: strawberry.ID = column(tables.Category.id, PUBLIC, "The global id.", is_id=True)
    uuid: UUID = column(tables.Category.id, PUBLIC, "The key in the products database.")
    name: str = column(tables.Category.name, PUBLIC, "The name.")
    description: str | None = column(tables.Category.description, PUBLIC, "What belongs here.")
    created_at: DateTime = column(tables.Category.created_at, PUBLIC, "When the category was made.")
    updated_at: DateTime = column(tables.Category.updated_at, PUBLIC, "When it last changed.")
    parent: "Category | None" = edge(
        product_reads.category_by_id, tables.Category.parent_id, PUBLIC, "The category above; null for a root."
    )
    children: list["Category"] = edge(
        product_reads.children_by_category, tables.Category.id, PUBLIC, "The categories right below, by name."
    )
    ancestors: list["Category"] = edge(
        product_reads.ancestors_by_category,
        tables.Category.id,
        PUBLIC,
        "The categories above: the root first, the parent last.",
    )
    descendants: list["Category"] = edge(
        product_reads.descendants_by_category,
        tables.Category.id,
        PUBLIC,
        "Everything below, depth first, siblings by name.",
        argument=IntArgument("max_depth", 1, "How many levels down, from 1; all of them if not given."),
    )
    depth: int = edge(
        product_reads.depth_by_category,
        tables.Category.id,
        PUBLIC,
        "How many categories are above: 0 for a root.",
        take=tables.DEPTH,
    )
    products: "ProductConnection" = connection(
        Choice(
            "include_descendants",
            default=False,
            description="Those of all categories below as well.",
            yes=product_reads.products_by_subtree,
            no=product_reads.products_by_category,
        ),
        PUBLIC,
        "The products of this category, by name unless `orderBy` is given.",
        via=tables.Category.id,
        where=ProductWhere,
        order_by=ProductOrderBy,
    )
    product_count: int = edge(
        Choice(
            "include_descendants",
            default=True,
            description="Those of all categories below as well.",
            yes=product_reads.count_by_subtree,
            no=product_reads.count_by_category,
        ),
        tables.Category.id,
        PUBLIC,
        "How many products this category has.",
        take=TOTAL,
    )


@strawberry.type(description="What is for sale.")
class Product(Node):
    id: strawberry.ID = column(tables.Product.id, PUBLIC, "The global id.", is_id=True)
    uuid: UUID = column(tables.Product.id, PUBLIC, "The key in the products database.")
    name: str = column(tables.Product.name, PUBLIC, "The name.")
    description: str | None = column(tables.Product.description, PUBLIC, "What it is.")
    price: Decimal = column(tables.Product.price, PUBLIC, "What one costs today.")
    sku: str | None = column(tables.Product.sku, PUBLIC, "The stock keeping unit: the shop's own number of it.")
    stock_quantity: int = column(tables.Product.stock_quantity, PUBLIC, "How many are in stock.")
    status: tables.ProductStatus = column(tables.Product.status, PUBLIC, "Whether it is for sale.")
    created_at: DateTime = column(tables.Product.created_at, PUBLIC, "When the product was added.")
    updated_at: DateTime = column(tables.Product.updated_at, PUBLIC, "When it last changed.")
    category: Category | None = edge(
        product_reads.category_by_id, tables.Product.category_id, PUBLIC, "The category that it is filed under."
    )
    images: list["ProductImage"] = edge(
        product_reads.images_by_product,
        tables.Product.id,
        PUBLIC,
        "The pictures: the primary one first, then the oldest.",
    )
    primary_image: "ProductImage | None" = edge(
        product_reads.primary_image_by_product,
        tables.Product.id,
        PUBLIC,
        "The picture to show where there is room for one.",
    )
    stats: ProductStats | None = edge(
        order_reads.stats_by_product,
        tables.Product.id,
        PUBLIC,
        "What was sold of it, as of the last refresh; null only while the orders database does not answer.",
    )
    order_items: OrderItemConnection | None = connection(
        order_reads.items_by_product, ADMIN, "The order lines that sold it, newest first.", via=tables.Product.id
    )


@strawberry.type(description="A picture of a product.")
class ProductImage(Node):
    id: strawberry.ID = column(tables.ProductImage.id, PUBLIC, "The global id.", is_id=True)
    uuid: UUID = column(tables.ProductImage.id, PUBLIC, "The key in the products database.")
    url: str = column(tables.ProductImage.url, PUBLIC, "Where the picture is.")
    is_primary: bool = column(tables.ProductImage.is_primary, PUBLIC, "Whether it is the one to show first.")
    created_at: DateTime = column(tables.ProductImage.created_at, PUBLIC, "When the picture was added.")


@strawberry.type(description="A page of categories.")
class CategoryConnection(Connection[Category]):
    pass


@strawberry.type(description="A page of products.")
class ProductConnection(Connection[Product]):
    pass
