"""The reads of the products database, with the walks through its tree.

A walk ends at a deleted category, upwards and downwards, and does not see what lies behind it.
"""

import typing
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnClause,
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    Numeric,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import array

from app.domains.products.tables import Category, Product, ProductImage, relevance
from app.paging import Sort, ascending
from app.reads import PUBLIC, Read, Rows, Shape, computed, counted, equal, many, one, page, spread_page, walked

_EXISTS = Category.deleted_at.is_(None)
_SOLD = Product.deleted_at.is_(None)
_OF_SOLD = ProductImage.product_id.in_(select(Product.id).where(_SOLD))
CATEGORIES = Rows(model=Category, exist=_EXISTS, own=PUBLIC)
PRODUCTS = Rows(model=Product, exist=_SOLD, own=PUBLIC)
IMAGES = Rows(model=ProductImage, exist=_OF_SOLD, own=PUBLIC)
IMAGES_OF_PRODUCT = Rows(model=ProductImage, own=PUBLIC)  # of one that is sold, as whoever asks has found
PRIMARY_IMAGES = Rows(model=ProductImage, exist=ProductImage.is_primary.is_(True), own=PUBLIC)
_BY_NAME = ascending(Category.name, Category.id)
_PRODUCTS_BY_NAME = ascending(Product.name, Product.id)

Query = Select[*tuple[Any, ...]]

# Each walk is a recursive WITH of this name.
_WALK = "walk"
_FARTHEST_FIRST = (Sort(literal_column("walk.distance", Integer), descending=True),)
_DEPTH_FIRST = (Sort(literal_column("walk.path")),)
_ZERO, _ONE = literal_column("0", Integer), literal_column("1", Integer)


def _begin(first: Query, category_id: ColumnElement[Any]) -> CTE:
    if isinstance(category_id, ColumnClause):
        # Without the correlation the first step would select from the keys anew, and so from all of them.
        first = first.correlate(typing.cast("FromClause", category_id.table))
    return first.cte(_WALK, recursive=True, nesting=True)


def _each(walk: CTE, rows: Query) -> tuple[FromClause, FromClause]:
    """Each step of a walk with rows of its own, found by an index: those rows, and the two joined.

    LIMIT NULL limits nothing, but keeps PostgreSQL from making one join of it all. It overrates how far a walk goes,
    and would read the whole table into a hash, once for every key.
    """
    found = rows.correlate(walk).limit(literal_column("NULL")).lateral("found")
    return found, walk.join(found, true())


def _upwards(category_id: ColumnElement[Any]) -> CTE:
    """The category itself at distance 0, its parent at 1, and so on to the root."""
    first = select(Category.id, Category.parent_id, _ZERO.label("distance"))
    walk = _begin(first.where(Category.id == category_id, _EXISTS), category_id)
    parent = select(Category.id, Category.parent_id).where(Category.id == walk.c.parent_id, _EXISTS)
    found, joined = _each(walk, parent)
    return walk.union_all(select(found.c.id, found.c.parent_id, walk.c.distance + _ONE).select_from(joined))


def _downwards(category_id: ColumnElement[Any]) -> CTE:
    """The category itself and everything below it."""
    walk = _begin(select(Category.id).where(Category.id == category_id, _EXISTS), category_id)
    children = select(Category.id).where(Category.parent_id == walk.c.id, _EXISTS)
    found, joined = _each(walk, children)
    return walk.union_all(select(found.c.id).select_from(joined))


def _with_rows(walk: CTE) -> Select[Any]:
    """The rows of the categories that a walk came by.

    For an array of one id PostgreSQL looks in the index, row by row; for the id itself it could also read the whole
    table into a hash, as above.
    """
    return select().select_from(walk).join(Category, Category.id == any_(array([walk.c.id])))


def _ancestors(category_id: ColumnElement[Any]) -> Select[Any]:
    walk = _upwards(category_id)
    return _with_rows(walk).where(walk.c.distance > _ZERO)


def _depth(category_id: ColumnElement[Any]) -> Select[Any]:
    walk = _upwards(category_id)
    return select().select_from(walk).where(walk.c.distance > _ZERO)


def _descendants(category_id: ColumnElement[Any]) -> Select[Any]:
    """Depth first: the path holds the name and the id of each step, and a path sorts behind its own beginning.

    As bytes it takes less room than as an array, and sorts faster. A name in UTF-8 sorts by code point, and no name
    holds the zero byte that ends it.
    """
    step = "convert_to(categories.name, 'UTF8') || BYTEA '\\x00' || uuid_send(categories.id)"
    place = literal_column(step, LargeBinary).label("place")
    deepest = bindparam("max_depth", required=False, type_=Integer)
    first = select(Category.id, _ONE.label("level"), place.label("path"))
    walk = _begin(first.where(Category.parent_id == category_id, _EXISTS), category_id)
    children = select(Category.id, place).where(Category.parent_id == walk.c.id, _EXISTS)
    found, joined = _each(walk, children)
    deeper = select(found.c.id, walk.c.level + _ONE, walk.c.path.concat(found.c.place)).select_from(joined)
    return _with_rows(walk.union_all(deeper.where(or_(deepest.is_(None), walk.c.level < deepest))))


category_by_id = one(CATEGORIES, equal(Category.id))
categories = page(CATEGORIES, None, _BY_NAME)
children_by_category = many(CATEGORIES, equal(Category.parent_id), _BY_NAME)
ancestors_by_category = walked(CATEGORIES, _ancestors, _FARTHEST_FIRST, short=True)
descendants_by_category = walked(CATEGORIES, _descendants, _DEPTH_FIRST)
"""Takes the parameter ``max_depth``: how many levels down, or None for all of them."""
depth_by_category = computed(CATEGORIES, _depth)

product_by_id = one(PRODUCTS, equal(Product.id))
product_by_sku = one(PRODUCTS, equal(Product.sku))
products = page(PRODUCTS, None, _PRODUCTS_BY_NAME)
products_by_category = page(PRODUCTS, equal(Product.category_id), _PRODUCTS_BY_NAME)
products_by_subtree = spread_page(products_by_category, _downwards)
count_by_category = counted(products_by_category)
count_by_subtree = counted(products_by_subtree)

image_by_id = one(IMAGES, equal(ProductImage.id))
images_by_product = many(
    IMAGES_OF_PRODUCT,
    equal(ProductImage.product_id),
    (Sort(ProductImage.is_primary, descending=True), *ascending(ProductImage.created_at, ProductImage.id)),
    short=True,
)
primary_image_by_product = one(PRIMARY_IMAGES, equal(ProductImage.product_id))


_FOUND_BY = "@@"
# LIMIT NULL keeps PostgreSQL from working the query out, and each row's rank, wherever they are named.
_ASKED = (
    select(func.product_query(bindparam("search", required=False, type_=Text())).label("query"))
    .limit(literal_column("NULL"))
    .subquery("asked")
)
# Rounded, since cursors compare it for equality.
_RANKED = (
    select(func.round(cast(relevance(_ASKED.c.query), Numeric), literal_column("6"), type_=Numeric()).label("rank"))
    .limit(literal_column("NULL"))
    .correlate(Product, _ASKED)
    .lateral("ranked")
)


def _found() -> Select[Any]:
    found = _ASKED.join(Product, Product.search.bool_op(_FOUND_BY)(_ASKED.c.query)).join(_RANKED, true())
    return select().select_from(found).where(_SOLD)


_BEST_FIRST = (Sort(_RANKED.c.rank, descending=True), *ascending(Product.id))
products_found = Read("products", Shape.PAGE, None, _found, _BEST_FIRST, rows=PRODUCTS)
"""Takes the parameter ``search``, the text."""


def itself(category_id: ColumnElement[Any]) -> FromClause:
    """The category alone, in a column ``id``; nothing where it is deleted."""
    return select(Category.id).where(Category.id == category_id, _EXISTS).subquery("category")


def branch(category_id: ColumnElement[Any]) -> FromClause:
    """The category and everything below it, in a column ``id``."""
    return _downwards(category_id)
