"""The first phase of a plan: all rows, level by level, one statement for each edge and level.

A branch goes on as soon as its own rows are there, and the databases work at the same time. Nothing is made of the rows
yet: what a level finds are the rows themselves, and which of them belong to which key.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql.execution.values import VariableValues, get_argument_values
from strawberry import Schema
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from app.database import Row
from app.errors import BadUserInputError, TooLargeError
from app.graph.asks import PageAsk, edge_ask, keys_of, lookup_ask, missing_node, node_ids, node_of, page_ask
from app.graph.connection import Page
from app.graph.context import Ask, Context
from app.graph.declarations import Edge, Lookup, Own
from app.graph.fields import rows_columns, type_of_rows
from app.graph.plan.selection import EdgeItem, Loading, NodesItem, PageItem, Selection
from app.graph.visibility import check_visible

ROOT: Any = {}
"""In place of the row that the root has not."""


@dataclass
class Batch:
    """The rows of a selection, and what was loaded for each of its loaded items."""

    selection: Selection
    rows: list[Row]
    loaded: list["Loaded"] = field(default_factory=list["Loaded"])


@dataclass
class Loaded:
    """What an item loaded for all rows of a batch: the key of each row, and what that key found."""

    keys: list[Any]
    error: Exception | None = None
    spans: dict[Any, tuple[int, int]] = field(default_factory=dict[Any, tuple[int, int]])
    """Which rows of each of ``children`` a key found: from one to before the other."""
    pages: dict[Any, Page] = field(default_factory=dict[Any, Page])
    children: list[Batch] = field(default_factory=list[Batch])
    missing: dict[type, Exception] = field(default_factory=dict[type, Exception])
    """Of ``node`` and ``nodes``: why an object of a type is not there. A key is then a type and a uuid, or an error."""


class Fetching:
    """One run of a plan's first phase."""

    def __init__(self, schema: Schema, context: Context, variable_values: VariableValues) -> None:
        self._schema = schema
        self._context = context
        self._variable_values = variable_values

    async def batch(self, selection: Selection, rows: list[Row]) -> Batch:
        """All rows of a selection and of all below it. What fails is noted where it failed."""
        batch = Batch(selection, rows)
        if rows:
            batch.loaded = await asyncio.gather(*(self._load(item, rows) for item in selection.loaded))
        return batch

    async def _load(self, item: Loading, rows: list[Row]) -> Loaded:
        try:
            check_visible(item.field.metadata["visible_to"], self._context.viewer)
            arguments = self._arguments(item)
            match item:
                case EdgeItem():
                    loaded = await self._edge(item, rows, arguments)
                case PageItem():
                    loaded = await self._page(item, rows, arguments)
                case NodesItem():
                    loaded = await self._nodes(item, arguments)
            return loaded
        except TooLargeError:
            raise
        except Exception as error:  # whatever it is, it is told at this place, as a resolver's would be
            return Loaded([None] * len(rows), error)

    async def _edge(self, item: EdgeItem, rows: list[Row], arguments: dict[str, Any]) -> Loaded:
        columns = rows_columns(item.field)
        match item.declaration:
            case Lookup() as declaration:
                ask, key = lookup_ask(declaration, type_of_rows(item.field).__name__, columns, arguments)
                loaded = Loaded([key])
            case Own(read):
                ask, loaded = Ask(read, columns), Loaded([self._context.viewer.user] * len(rows))
            case Edge() as declaration:
                ask = edge_ask(declaration, columns, arguments)
                loaded = Loaded(keys_of(rows, declaration.via))
        found = await self._ask(ask, loaded.keys)
        together: list[Row] = []
        for key, of_key in found.items():
            start = len(together)
            together += of_key if item.is_list else of_key[:1]
            loaded.spans[key] = start, len(together)
        loaded.children = [await self.batch(item.child, together)]
        return loaded

    async def _page(self, item: PageItem, rows: list[Row], arguments: dict[str, Any]) -> Loaded:
        most = self._context.services.settings.largest_total
        ask = page_ask(item.declaration, rows_columns(item.field), arguments, most)
        loaded = Loaded(keys_of(rows, item.declaration.via))
        found, totals = await asyncio.gather(
            self._ask(ask.rows if item.wants_rows else None, loaded.keys),
            self._ask(ask.total if item.wants_total else None, loaded.keys),
        )
        together = self._paged(ask, loaded, found, totals)
        loaded.children = list(await asyncio.gather(*(self.batch(child, together) for child in item.children)))
        return loaded

    def _paged(
        self, ask: PageAsk, loaded: Loaded, found: Mapping[Any, list[Row]], totals: Mapping[Any, list[Row]]
    ) -> list[Row]:
        together: list[Row] = []
        for key in dict.fromkeys(loaded.keys):
            total = totals[key][0]["total"] if key in totals else None
            page = ask.window.page(found.get(key, []), ask.cursors, total)
            loaded.pages[key] = page
            loaded.spans[key] = (len(together), len(together) + len(page.nodes))
            together += page.nodes
        return together

    async def _nodes(self, item: NodesItem, arguments: dict[str, Any]) -> Loaded:
        reads = item.declaration.reads
        loaded = Loaded([])
        uuids: dict[type, list[str]] = {}
        for node_id in node_ids(arguments, many=item.declaration.many):
            try:
                type_, uuid = node_of(node_id, reads)
                uuids.setdefault(type_, []).append(uuid)
                loaded.keys.append((type_, uuid))
            except BadUserInputError as error:
                loaded.keys.append(error)
        loaded.children = list(
            await asyncio.gather(
                *(
                    self._of_type(loaded, type_, Ask(read, child.columns), uuids.get(type_, []), child)
                    for (type_, read), child in zip(reads.items(), item.children, strict=True)
                )
            )
        )
        return loaded

    async def _of_type(self, loaded: Loaded, type_: type, ask: Ask, uuids: list[str], child: Selection) -> Batch:
        """The objects of one type. A database that does not answer costs those that are asked of it."""
        together: list[Row] = []
        try:
            for uuid, [row] in (await self._ask(ask, uuids)).items():
                loaded.spans[type_, uuid] = len(together), len(together) + 1
                together.append(row)
            missing: Exception = missing_node(type_)
        except TooLargeError:
            raise
        except Exception as error:
            missing = error
        loaded.missing[type_] = missing
        return await self.batch(child, together)

    async def _ask(self, ask: Ask | None, keys: list[Any]) -> Mapping[Any, list[Row]]:
        distinct = [key for key in dict.fromkeys(keys) if key is not None]
        if ask is None or not distinct:
            return {}
        return await self._context.loaders.fetch(ask, distinct)

    def _arguments(self, item: Loading) -> dict[str, Any]:
        """The arguments of a field as its resolver would get them."""
        field: StrawberryField = item.field
        if item.definition is None or not item.definition.args:
            return {}
        values = get_argument_values(item.definition, item.nodes[0], self._variable_values)
        converter = self._schema.schema_converter
        return convert_arguments(values, field.arguments, converter.scalar_registry, self._schema.config)
