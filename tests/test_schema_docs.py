"""The pages in docs/schema: current, whole, with links that lead somewhere, and true to the four databases."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType

from app.cli import main
from app.cli.schema import MADE, made_pages
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.graph.schemas import SCHEMA, type_of
from tests.operations.rows import rows

FOLDER = Path(__file__).parent.parent / "docs" / "schema"
PAGES = made_pages()
DATABASES = PAGES["databases.md"]
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

# The keys into other databases, as the tables' own documentation has them: from, to, and the field that follows it.
ACROSS = {
    ("orders.orders", "user_id", "users.users", "Order", "user"),
    ("orders.orders", "shipping_address_id", "users.user_profiles", "Order", "shippingAddress"),
    ("orders.order_items", "product_id", "products.products", "OrderItem", "product"),
    ("payments.payments", "order_id", "orders.orders", "Payment", "order"),
}


def test_they_are_current() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == PAGES, (
        "run: storegraph schema docs"
    )


def test_they_are_written_and_those_of_types_that_are_gone_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "Gone.md").write_text(MADE + "# Gone", encoding="utf-8")
    (tmp_path / "schema" / "mine.md").write_text("# Mine", encoding="utf-8")
    (tmp_path / "Gone.md").write_text(MADE + "# Gone", encoding="utf-8")

    def run(out: Path) -> object:
        monkeypatch.setattr(sys, "argv", ["storegraph", "schema", "docs", "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    for _ in range(2):
        assert run(tmp_path) == 0
        written = {path.name for path in (tmp_path / "schema").iterdir()}
        assert written == {*PAGES, "mine.md"}
        assert (tmp_path / "Gone.md").exists()
    assert capsys.readouterr().out.startswith(f"{len(PAGES)} pages; begin with {tmp_path / 'schema' / 'README.md'}\n")
    assert run(tmp_path / "Gone.md" / "below") == 2
    assert (
        capsys.readouterr().err
        == f"storegraph: cannot write {tmp_path / 'Gone.md' / 'below' / 'schema'}: Not a directory\n"
    )


def anchors(text: str) -> list[str]:
    """What GitHub makes of headings: lower case, hyphens for blanks, and nothing else but word characters."""
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(text))
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain]


def test_each_link_leads_somewhere() -> None:
    count = 0
    for name, text in PAGES.items():
        assert len(anchors(text)) == len(set(anchors(text))), name
        for page, anchor in LINK.findall(text):
            count += 1
            assert (page or name) in PAGES, f"{name}: {page}"
            assert not anchor or anchor in anchors(PAGES[page or name]), f"{name}: {page}#{anchor}"
    assert count > 500


def cells(page: str, heading: str) -> dict[str, list[str]]:
    """A table below a heading: the cells of each row by the first one's code."""
    below = page.split(f"\n## {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line.strip("| ").split(" | ") for line in below.splitlines() if line.startswith("| `")]
    return {line[0].strip("`"): line for line in lines}


def test_each_type_has_a_page_with_its_fields_and_arguments() -> None:
    index = PAGES["README.md"]
    for name, type_ in SCHEMA.type_map.items():
        if name.startswith("__") or not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            continue
        page = PAGES[f"{name}.md"]
        assert index.count(f"[`{name}`]({name}.md)") == 1, name
        assert f"\n# {name}\n\n{type_.description}\n" in page
        fields = cells(page, "Fields")
        assert list(fields) == [of + ("(…)" if field.args else "") for of, field in type_.fields.items()]
        for field_name, field in type_.fields.items():
            row = fields[field_name + ("(…)" if field.args else "")]
            assert f"`{type_of(field)}`" in row[1]
            assert row[3] == field.description
            if field.args:
                assert list(cells(page, f"Arguments of {field_name}")) == list(field.args)


def test_inputs_enums_and_scalars_are_listed() -> None:
    listed = {name for page in ("inputs.md", "enums.md", "scalars.md") for name in HEADING.findall(PAGES[page])[1:]}
    named = {name for name in SCHEMA.type_map if not name.startswith("__")}
    assert listed == {name for name in named if f"{name}.md" not in PAGES}


def test_who_may_see_a_field() -> None:
    for page, field, who in (
        ("Product", "price", "everybody"),
        ("Product", "orderItems(…)", "staff"),
        ("Order", "totalAmount", "owner, staff"),
        ("Payment", "provider", "staff"),
        ("Query", "users(…)", "staff"),
        ("Query", "viewer", "everybody"),
        ("Mutation", "changePassword(…)", "owner, staff"),
    ):
        assert cells(PAGES[f"{page}.md"], "Fields")[field][2] == who, field
    assert "of [`products.products`](databases.md#productsproducts); everybody sees all of them." in PAGES["Product.md"]
    assert "of [`users.users`](databases.md#usersusers); one sees one's own, staff all of them." in PAGES["User.md"]


def test_where_a_field_leads() -> None:
    for source, column, target, type_name, field in ACROSS:
        row = cells(PAGES[f"{type_name}.md"], "Relations")[field]
        database, table = target.split(".")
        assert row[2] == f"**[{database}](databases.md#{database})**"
        there = f" → `{table}.id`" if field != "order" else ""  # an order is found by the time in its id as well
        assert row[3:] == ["a row", f"`{source.split('.')[1]}.{column}`{there}"]
    assert cells(PAGES["Order.md"], "Relations")["items"][2:] == [
        "[orders](databases.md#orders)",
        "a whole list",
        "`orders.id`, `orders.created_at`",
    ]
    assert cells(PAGES["User.md"], "Relations")["orders"][2:] == [
        "**[orders](databases.md#orders)**",
        "a page",
        "`users.id` → `orders.user_id`",
    ]
    assert cells(PAGES["Payment.md"], "Relations")["amountRefunded"][3] == "a value, worked out"
    assert cells(PAGES["Query.md"], "Relations")["product"][3:] == ["a row", "`id` or `sku`"]


# --- the databases

KEY = re.compile(r'^    (\w+) (\|[o|])(--|\.\.)(o[{|]) (\w+) : "([\w, ]+)"$', re.MULTILINE)


def keys_drawn(line: str) -> Iterator[tuple[str, str, str, str]]:
    """The keys of the diagram: the table that has one, its columns, the table that it names, and none or one of it."""
    diagram = DATABASES.split("```mermaid\n")[1].split("```")[0]
    for to, there, kind, _, of, columns in KEY.findall(diagram):
        if kind == line:
            yield of, columns, to, there


def test_keys_into_other_databases_are_dashed() -> None:
    dashed = {(of, column, to, "|o") for of, column, to, *_ in ACROSS}
    assert set(keys_drawn("..")) == {(of.replace(".", "_"), c, to.replace(".", "_"), end) for of, c, to, end in dashed}


FOREIGN_KEYS = """
    SELECT conrelid::regclass::text, confrelid::regclass::text,
        string_agg(attname, ', ' ORDER BY place), bool_and(attnotnull)
    FROM pg_constraint, unnest(conkey) WITH ORDINALITY AS k(number, place), pg_attribute
    WHERE contype = 'f' AND conparentid = 0 AND attrelid = conrelid AND attnum = number GROUP BY pg_constraint.oid, 1, 2
"""
COLUMNS = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull OR c.relkind = 'm'
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
        AND a.attnum > 0 AND NOT a.attisdropped AND c.relname NOT LIKE 'alembic%'
"""
_SHORT = {"timestamp with time zone": "timestamptz", "character varying": "varchar", "character(": "char("}


@pytest.mark.parametrize("name", DATABASE_NAMES)
def test_the_page_is_true_to_the_database(settings: Settings, name: DatabaseName) -> None:
    solid = {key for key in keys_drawn("--") if key[0].startswith(f"{name}_")}
    there = {
        (f"{name}_{of}", columns, f"{name}_{to}", "||" if required else "|o")
        for of, to, columns, required in rows(settings, name, FOREIGN_KEYS)
    }
    assert solid == there
    section = DATABASES.split(f"\n## {name}\n")[1].split("\n## ")[0]
    listed = {
        (table, cell[0].strip("`"), cell[1].strip("`"), cell[2] != "can be")
        for table, text in re.findall(rf"^### {name}\.(\w+)\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL)
        for cell in (line.strip("|").strip().split(" | ") for line in text.splitlines() if line.startswith("| `"))
    }
    found = {(of, column, _short(kind), required) for of, column, kind, required in rows(settings, name, COLUMNS)}
    assert listed == found
    assert len(found) > 15


def _short(kind: str) -> str:
    for long, short in _SHORT.items():
        kind = kind.replace(long, short)
    return kind
