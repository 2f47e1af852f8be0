"""How categories and products are filtered and ordered."""

import strawberry

from app.domains.products import reads
from app.domains.products.tables import Category, Product, ProductStatus
from app.graph.inputs import (
    DateTimeFilter,
    DecimalFilter,
    Equality,
    FiltersNull,
    IDFilter,
    IntFilter,
    Scope,
    SortDirection,
    StringFilter,
    all_of,
    any_of,
    filters,
    means,
    none_of,
    sorts,
)


@strawberry.input(description="Which categories. Several fields mean all of them.")
class CategoryWhere:
    and_: list["CategoryWhere"] | None = all_of()
    or_: list["CategoryWhere"] | None = any_of()
    not_: "CategoryWhere | None" = none_of()
    id: IDFilter | None = filters(Category.id, "The id.", ids_of="Category")
    name: StringFilter | None = filters(Category.name, "The name.")
    description: StringFilter | None = filters(Category.description, "What belongs there.")
    is_root: bool | None = means(FiltersNull(Category.parent_id), "Whether it has no category above it.")
    parent_id: IDFilter | None = filters(Category.parent_id, "The category right above.", ids_of="Category")
    created_at: DateTimeFilter | None = filters(Category.created_at, "When the category was made.")
    updated_at: DateTimeFilter | None = filters(Category.updated_at, "When it last changed.")


@strawberry.input(one_of=True, description="What categories are ordered by: one field.")
class CategoryOrderBy:
    name: SortDirection | None = sorts(Category.name, "name")
    created_at: SortDirection | None = sorts(Category.created_at, "when the category was made")
    updated_at: SortDirection | None = sorts(Category.updated_at, "when it last changed")


@strawberry.input(description="Tests of a product's status. Several mean all of them.")
class ProductStatusFilter(Equality[ProductStatus]):
    pass


@strawberry.input(description="The products of a category.")
class CategoryScope:
    id: strawberry.ID = strawberry.field(description="The category, by an id or a UUID.")
    include_descendants: bool | None = strawberry.field(
        default=True, description="Those of all categories below as well."
    )


@strawberry.input(description="Which products. Several fields mean all of them.")
class ProductWhere:
    and_: list["ProductWhere"] | None = all_of()
    or_: list["ProductWhere"] | None = any_of()
    not_: "ProductWhere | None" = none_of()
    id: IDFilter | None = filters(Product.id, "The id.", ids_of="Product")
    name: StringFilter | None = filters(Product.name, "The name.")
    description: StringFilter | None = filters(Product.description, "What it is.")
    sku: StringFilter | None = filters(Product.sku, "The stock keeping unit.")
    price: DecimalFilter | None = filters(Product.price, "What one costs today.")
    stock_quantity: IntFilter | None = filters(Product.stock_quantity, "How many are in stock.")
    status: ProductStatusFilter | None = filters(Product.status, "Whether it is for sale.")
    category: CategoryScope | None = means(
        Scope(Product.category_id, "Category", yes=reads.branch, no=reads.itself),
        "The category that it is filed under.",
    )
    created_at: DateTimeFilter | None = filters(Product.created_at, "When the product was added.")
    updated_at: DateTimeFilter | None = filters(Product.updated_at, "When it last changed.")


@strawberry.input(one_of=True, description="What products are ordered by: one field.")
class ProductOrderBy:
    name: SortDirection | None = sorts(Product.name, "name")
    sku: SortDirection | None = sorts(Product.sku, "sku")
    price: SortDirection | None = sorts(Product.price, "price")
    stock_quantity: SortDirection | None = sorts(Product.stock_quantity, "how many are in stock")
    status: SortDirection | None = sorts(Product.status, "status, as text")
    created_at: SortDirection | None = sorts(Product.created_at, "when the product was added")
    updated_at: SortDirection | None = sorts(Product.updated_at, "when it last changed")
