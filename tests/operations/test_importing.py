"""Importing folders of CSV files: what is loaded, and what is said of a row that cannot be."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from app.errors import OperationError
from app.operations.contents import Summary, tables_of
from app.operations.importing import import_folder
from app.settings import DATABASE_NAMES, Settings
from tests.operations.rows import indexes_and_constraints, rows, storegraph

SHOP = Path(__file__).parents[3] / "shared" / "data" / "shop"

ANN, BOB, NOBODY = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 9))
ORDER, LATER_ORDER = (f"00000000-0000-4000-8000-00000000001{n}" for n in (1, 2))
TEA, COFFEE, GOODS = (f"00000000-0000-4000-8000-00000000002{n}" for n in (1, 2, 3))
LINE, OTHER_LINE, PAYMENT = (f"00000000-0000-4000-8000-00000000003{n}" for n in (1, 2, 3))

FILES = {
    "users/users.csv": f"id,email,password_hash\n{ANN},ann@example.com,!\n{BOB},bob@example.com,!\n",
    "users/user_profiles.csv": f"user_id,city\n{ANN},Århus\n{BOB},\n",
    "products/categories.csv": f"id,name\n{GOODS},Goods\n",
    "products/products.csv": f"id,name,price,sku,category_id\n{TEA},Tea,1.50,T-1,{GOODS}\n{COFFEE},Coffee,2.00,,\n",
    "orders/orders.csv": "id,user_id,total_amount,shipping_address_id,created_at\n"
    f"{ORDER},{ANN},1.50,{ANN},1996-12-31T23:59:59Z\n{LATER_ORDER},{ANN},2.00,{ANN},1996-12-31 23:59:59-05\n",
    "orders/order_items.csv": "id,order_id,product_id,quantity,unit_price\n"
    f"{LINE},{ORDER},{TEA},1,1.50\n{OTHER_LINE},{LATER_ORDER},{COFFEE},1,2.00\n",
    "payments/payments.csv": f"id,order_id,amount,method\n{PAYMENT},{ORDER},1.50,card\n",
}


pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with something in most tables."""
    for name, text in FILES.items():
        write(tmp_path, name, text.encode())
    return tmp_path


def write(folder: Path, name: str, content: bytes, more: str = "") -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content + more.encode())


def load(settings: Settings, folder: Path) -> Summary:
    return asyncio.run(import_folder(settings, folder))


def refusal(settings: Settings, folder: Path) -> list[str]:
    with pytest.raises(OperationError) as refused:
        load(settings, folder)
    return str(refused.value).splitlines()


def test_loads_every_table_and_leaves_missing_columns_to_their_defaults(settings: Settings, folder: Path) -> None:
    assert load(settings, folder) == {
        "users": {"users": 2, "user_profiles": 2},
        "products": {"categories": 1, "products": 2, "product_images": 0},
        "orders": {"orders": 2, "order_items": 2},
        "payments": {"payments": 1, "refunds": 0},
    }
    assert rows(settings, "users", "SELECT role, first_name FROM users") == [("customer", None)] * 2
    assert rows(settings, "users", "SELECT city FROM user_profiles ORDER BY city") == [("Århus",), (None,)]


def test_lines_get_the_time_of_their_order_and_the_name_of_their_product(settings: Settings, folder: Path) -> None:
    load(settings, folder)
    selected = "SELECT tableoid::regclass::text, order_created_at::text, product_name, product_sku FROM order_items"
    assert rows(settings, "orders", f"{selected} ORDER BY id") == [
        ("order_items_1996_q4", "1996-12-31 23:59:59+00", "Tea", "T-1"),
        ("order_items_1997_q1", "1997-01-01 04:59:59+00", "Coffee", None),
    ]


def test_lines_without_products_have_no_name(settings: Settings, folder: Path) -> None:
    (folder / "products" / "products.csv").unlink()
    load(settings, folder)
    assert rows(settings, "orders", "SELECT DISTINCT product_name FROM order_items") == [(None,)]


def test_statistics_are_refreshed(settings: Settings, folder: Path) -> None:
    load(settings, folder)
    assert len(rows(settings, "orders", "SELECT FROM product_stats")) == 2
    refreshed = rows(settings, "orders", "SELECT now() - refreshed_at < '1 minute' FROM product_stats_refresh")
    assert refreshed == [(True,)]


def test_a_second_import_adds_to_the_first(settings: Settings, folder: Path) -> None:
    load(settings, folder)
    for name in FILES:
        (folder / name).unlink()
    write(folder, "orders/order_items.csv", f"order_id,product_id,quantity,unit_price\n{ORDER},{TEA},3,1\n".encode())
    assert load(settings, folder)["orders"] == {"orders": 0, "order_items": 1}
    assert rows(settings, "orders", "SELECT sum(quantity) FROM order_items") == [(5,)]


def test_indexes_and_foreign_keys_are_there_again(settings: Settings, folder: Path) -> None:
    write(folder, *ORDERS, f"{ORDER},{ANN},1,{ANN},1996-12-31\n")  # makes the partition
    (folder / "orders" / "order_items.csv").unlink()
    load(settings, folder)
    before = indexes_and_constraints(settings)
    for database in ("users", "products", "payments"):
        shutil.rmtree(folder / database)
    (folder / "orders" / "orders.csv").unlink()
    write(folder, *ITEMS, f"{LINE},{ORDER},{TEA},1,1.50\n")
    load(settings, folder)
    assert indexes_and_constraints(settings) == before


def test_reads_what_spreadsheets_write(settings: Settings, tmp_path: Path) -> None:
    text = '\ufeffid,name,description\r\n,"Tea, ""green""","two\nlines"\r\n'.replace("\r\n,", f"\r\n{GOODS},")
    write(tmp_path, "products/categories.csv", text.encode())
    load(settings, tmp_path)
    assert rows(settings, "products", "SELECT name, description FROM categories") == [('Tea, "green"', "two\nlines")]


def test_children_may_stand_before_their_parents(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path, "products/categories.csv", f"id,name,parent_id\n{TEA},Tea,{GOODS}\n{GOODS},Goods,\n".encode())
    assert load(settings, tmp_path)["products"]["categories"] == 2


USERS = "users/users.csv", b"id,email,password_hash,first_name\n"
CATEGORIES = "products/categories.csv", b"id,name,parent_id\n"
ORDERS = "orders/orders.csv", b"id,user_id,total_amount,shipping_address_id,created_at\n"
ITEMS = "orders/order_items.csv", b"id,order_id,product_id,quantity,unit_price\n"
REFUNDS = "payments/refunds.csv", b"payment_id,amount\n"

BAD_ROWS = {
    "type": (*USERS, f"{ANN},a@x,!,\n7,b@x,!,\n", 3, 'id: invalid input syntax for type uuid: "7"'),
    "NULL": (*USERS, f"{ANN},,!,\n", 2, 'null value in column "email"'),
    "too long": (*USERS, f"{ANN},a@x,!,{'x' * 101}\n", 2, "first_name: value too long"),
    "unique": (*USERS, f"{ANN},a@x,!,\n{BOB},b@x,!,\n{NOBODY},A@x,!,\n", 4, "idx_users_email"),
    "after line breaks": (*USERS, f'{ANN},a@x,!,"\n\n"\n{BOB},b@x,!,"\n"\n7,c@x,!,"\n"\n', 7, "uuid"),
    "ragged": (*USERS, f"{ANN},a@x,!,\n{BOB},b@x\n", 3, 'missing data for column "password_hash"'),
    "too many fields": (*USERS, f"{ANN},a@x,!,,\n", 2, "extra data after last expected column"),
    "blank line": (*USERS, f"{ANN},a@x,!,\n\n", 3, "missing data"),
    "open quote": (*USERS, f'{ANN},a@x,!,"\n{BOB},b@x,!,\n', 2, "unterminated CSV quoted field"),
    "end of data": (*USERS, f"{ANN},a@x,!,\n\\.\n{BOB},b@x,!,\n", 3, "put it in quotes"),
    "NUL": (*USERS, f"{ANN},a@x,!,\n{BOB},b@x,!,\0\n", 3, "0x00"),
    "cycle": (*CATEGORIES, f"{TEA},a,{COFFEE}\n{COFFEE},b,{TEA}\n", 3, "cannot be below itself"),
    "foreign key": (*CATEGORIES, f"{TEA},a,\n{COFFEE},b,{{{NOBODY}}}\n", 3, "is not present"),
    "check": (*ORDERS, f"{ORDER},{ANN},-1,{ANN},1996-01-01\n", 2, '"orders" violates check constraint "check_total'),
    "time": (*ORDERS, f"{ORDER},{ANN},1,{ANN},1996-13-01\n", 2, "created_at: date/time field value out of range"),
    "far year": (*ORDERS, f"{ORDER},{ANN},1,{ANN},19960-01-01\n", 2, "is not between 1970-01-01 and 2200-12-31"),
    "same order": (*ORDERS, f"{ORDER},{ANN},1,{ANN},1996-01-01\n{ORDER},{ANN},1,{ANN},1997-01-01\n", 3, "already"),
    "no order": (*ITEMS, f"{LINE},{ORDER},{TEA},1,1\n{OTHER_LINE},{NOBODY},{TEA},1,1\n", 3, "no such order"),
    "same line": (*ITEMS, f"{LINE},{ORDER},{TEA},1,1\n{LINE},{LATER_ORDER},{TEA},1,1\n", 3, "already"),
    "quantity": (*ITEMS, f"{LINE},{ORDER},{TEA},0,1\n", 2, "check_quantity_positive"),
    "trigger": (*REFUNDS, f"{PAYMENT},1.00\n{PAYMENT},0.51\n", 3, "would sum to more than it"),
}


@pytest.mark.parametrize(("name", "header", "body", "line", "why"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_named_and_nothing_of_its_database_is_loaded(
    settings: Settings, folder: Path, name: str, header: bytes, body: str, line: int, why: str
) -> None:
    write(folder, name, header, body)
    error, outcome = refusal(settings, folder)
    assert error.startswith(f"{folder / name}, line {line}: ")
    assert why in error
    database = name.partition("/")[0]
    assert outcome.endswith(f"; not loaded: {database}")
    for each in DATABASE_NAMES:
        found = " UNION ALL ".join(f"SELECT FROM {table.name}" for table in tables_of(each))
        assert (rows(settings, each, found) == []) == (each == database)


def test_line_numbers_are_those_of_the_file_whatever_its_line_ends(settings: Settings, folder: Path) -> None:
    body = b'id,name,description\r\n%b,a,"1\n2\n3"\r\nx,b,\r\n' % GOODS.encode()
    write(folder, "products/categories.csv", body)
    assert refusal(settings, folder)[0].startswith(f"{folder / 'products' / 'categories.csv'}, line 5: ")


def test_bad_encoding_is_named_by_its_line(settings: Settings, folder: Path) -> None:
    write(folder, "users/users.csv", USERS[1] + f"{ANN},a@x,!,a\n{BOB},b@x,!,é\n".encode("latin-1"))
    error = refusal(settings, folder)[0]
    assert error.startswith(f"{folder / 'users' / 'users.csv'}, line 3: invalid byte sequence")


def test_a_key_that_is_there_already_is_named_by_its_line(settings: Settings, folder: Path) -> None:
    load(settings, folder)
    errors = refusal(settings, folder)
    expected = ("users/users.csv", "products/categories.csv", "orders/orders.csv", "payments/payments.csv")
    for error, name in zip(errors, expected, strict=False):
        assert error.startswith(f"{folder / name}, line 2: ")
    assert errors[4] == "loaded: nothing; not loaded: users, products, orders, payments"


def test_the_rest_of_a_refused_row_is_not_shown(settings: Settings, folder: Path) -> None:
    write(folder, "users/users.csv", b"id,email,password_hash,role\n%b,a@x,s3cret,boss\n" % ANN.encode())
    assert "s3cret" not in refusal(settings, folder)[0]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"id,emial,password_hash\n", 'users has no column "emial"; it has id, email'),
        (b"id,email\n", 'column "password_hash" is missing'),
        (b"id,email,email\n", 'column "email" is there twice'),
        (b"", "no header"),
        (b"id,\xff\n", "not UTF-8"),
        ("id,email\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_bad_header_is_named(settings: Settings, folder: Path, header: bytes, why: str) -> None:
    write(folder, "users/users.csv", header)
    error = refusal(settings, folder)[0]
    assert error.startswith(f"{folder / 'users' / 'users.csv'}, line 1: ")
    assert why in error


def test_a_misspelt_file_is_not_an_empty_table(settings: Settings, folder: Path) -> None:
    write(folder, "orders/order_item.csv", b"id\n")
    [error] = refusal(settings, folder)
    assert "order_item.csv: the orders database has no such table" in error
    assert rows(settings, "users", "SELECT FROM users") == []


def test_a_folder_without_files_is_an_error(settings: Settings, tmp_path: Path) -> None:
    [error] = refusal(settings, tmp_path)
    assert error.startswith(f"{tmp_path} has nothing to import")


def test_one_database_alone_can_be_loaded(settings: Settings, folder: Path) -> None:
    loaded = asyncio.run(import_folder(settings, folder, ["users"]))
    assert loaded == {"users": {"users": 2, "user_profiles": 2}}


def test_the_command_prints_what_was_added(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert storegraph(settings, monkeypatch, "db", "import", str(folder), "--database", "orders", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"orders": {"orders": 2, "order_items": 2}}
    assert storegraph(settings, monkeypatch, "db", "import", str(folder)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"storegraph: {folder / 'orders' / 'orders.csv'}, line 2: this id is in orders already",
        "storegraph: loaded: users, products, payments; not loaded: orders",
    ]


@pytest.mark.skipif(not SHOP.exists(), reason="the shop's data is not beside the project")
def test_the_shop_is_loaded(settings: Settings) -> None:
    loaded = load(settings, SHOP)
    assert loaded["products"] == {"categories": 5603, "products": 77, "product_images": 77}
    assert loaded["orders"] == {"orders": 830, "order_items": 2155}
    sums = "SELECT sum(total_amount), (SELECT sum(quantity * unit_price) FROM order_items) FROM orders"
    [(total, of_lines)] = rows(settings, "orders", sums)
    assert total == of_lines
    assert rows(settings, "orders", "SELECT FROM order_items WHERE product_name IS NULL") == []
