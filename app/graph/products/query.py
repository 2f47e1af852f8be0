"""The root fields of the products database."""

import strawberry

from app.domains.products import reads
from app.graph.fields import connection, lookup
from app.graph.products.inputs import CategoryOrderBy, CategoryWhere, ProductOrderBy, ProductWhere
from app.graph.products.types import Category, CategoryConnection, Product, ProductConnection
from app.graph.visibility import PUBLIC


@strawberry.type
class ProductsQuery:
    category: Category | None = lookup(PUBLIC, "A category.", id=reads.category_by_id)
    categories: CategoryConnection | None = connection(
        reads.categories,
        PUBLIC,
        "All categories, by name unless `orderBy` is given.",
        where=CategoryWhere,
        order_by=CategoryOrderBy,
    )
    product: Product | None = lookup(PUBLIC, "A product.", id=reads.product_by_id, sku=reads.product_by_sku)
    products: ProductConnection | None = connection(
        reads.products,
        PUBLIC,
        "All products, by name unless `search` or `orderBy` is given.",
        where=ProductWhere,
        order_by=ProductOrderBy,
        search=reads.products_found,
    )
