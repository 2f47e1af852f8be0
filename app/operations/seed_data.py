"""Made-up users, categories and products: rows that depend on the seed, the date and the number of orders alone.

Each row is a function of its number, so whatever refers to it can make it again and nothing need be kept. Rows are
lines of COPY's text format (manual: COPY, File Formats); none of the words needs escaping. Times are milliseconds since
1970, which is what an id of version 7 holds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from math import isqrt
from random import Random
from typing import NamedTuple, TypeVar

from app.operations import seed_words as words

T = TypeVar("T")

DAY = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEPARTMENTS = tuple(words.DEPARTMENTS)
_BRANCHES = len(words.QUALIFIERS[0])
STAFF = 4
"""The first users: an admin and some of the support."""

COLUMNS = {
    "users": "id email password_hash first_name last_name role status created_at updated_at",
    "user_profiles": "id user_id phone address_line1 address_line2 city state country postal_code created_at "
    "updated_at",
    "categories": "id name description parent_id created_at updated_at",
    "products": "id name description price category_id stock_quantity sku status created_at updated_at",
    "product_images": "id product_id url is_primary created_at",
}


class User(NamedTuple):
    """What an order needs of its customer."""

    id: str
    created: int
    addresses: tuple[str, ...]


class Product(NamedTuple):
    """What a line of an order needs of its product."""

    id: str
    name: str
    sku: str | None
    cents: int


@dataclass(frozen=True)
class Shop:
    """How much there is of everything, and when it was made."""

    orders: int
    seed: int
    until: date

    @cached_property
    def end(self) -> int:
        """Midnight UTC before ``until``: every row is older."""
        return _midnight(self.until)

    @cached_property
    def first_day(self) -> date:
        """Three years before ``until``: no row is older."""
        day = 28 if (self.until.month, self.until.day) == (2, 29) else self.until.day
        return self.until.replace(year=self.until.year - 3, day=day)

    @cached_property
    def start(self) -> int:
        """Midnight UTC before the first day."""
        return _midnight(self.first_day)

    @cached_property
    def opening(self) -> int:
        """When the first order can come: a week after the start, in which the goods and the first users are entered."""
        return self.start + 7 * DAY

    @cached_property
    def users(self) -> int:
        """A tenth of the orders."""
        return max(20, self.orders // 10)

    @cached_property
    def products(self) -> int:
        """10,000 for 100,000 orders; the range of goods grows with the square root of the sales."""
        return max(20, isqrt(self.orders * 1000))

    @cached_property
    def categories(self) -> int:
        """680 for 10,000 products."""
        return max(2 * len(_DEPARTMENTS), self.products * 68 // 1000)

    @cached_property
    def first_users(self) -> int:
        """How many users there are at the opening."""
        return max(2 * STAFF, self.users // 10)

    def users_at(self, time: int) -> int:
        """How many users there surely are at a time after the opening."""
        later = self.users - self.first_users
        return self.first_users + (time - self.opening) * later // (self.end - self.opening)

    def id_of(self, kind: str, number: int, created: int) -> str:
        """An id of version 7 with the time ``created`` (RFC 9562, section 5.7), its other bits hashed from the rest."""
        bits = self._hash(kind, number)
        time = f"{created:012x}"
        variant = "89ab"[int(bits[3], 16) & 3]
        return f"{time[:8]}-{time[8:]}-7{bits[:3]}-{variant}{bits[4:7]}-{bits[7:19]}"

    def user(self, number: int) -> User:
        """A user and the ids of the addresses; the first one is the usual."""
        spread = int(self._hash("joined", number), 16)
        if number < self.first_users:
            created = self.start + spread % (7 * DAY)
        else:
            span, later = self.end - self.opening, self.users - self.first_users
            created = self.opening + ((number - self.first_users) * span + spread % span) // later
        addresses = range(2 if number % 6 == 0 else 1)
        return User(
            self.id_of("user", number, created),
            created,
            tuple(self.id_of("address", number * 2 + address, created) for address in addresses),
        )

    def category(self, number: int) -> tuple[str, int]:
        """The id of a category and when it was made: each after those above it."""
        created = self.start + number * DAY // self.categories
        return self.id_of("category", number, created), created

    def product(self, number: int) -> Product:
        """A product as a line of an order shows it."""
        random = self.random("product", number)
        department, noun, _ = _names_in(self._category_of(random))
        name = f"{pick(random, words.BRANDS)} {noun} {10 + int(random.random() * 990)}"
        sku = f"{department[:3].upper()}-{number:06d}" if random.random() < 0.97 else None
        cents = int(2 * 10 ** (random.random() * 2.3)) * 100 + (99 if random.random() < 0.7 else 50)
        return Product(self.id_of("product", number, self._stocked(number)), name, sku, cents)

    def random(self, kind: str, number: int) -> Random:
        """The random numbers of one row or chunk of rows.

        Only ``random()`` is the same in every version of Python (manual: random, Notes on Reproducibility).
        """
        return Random(f"{self.seed}:{kind}:{number}")  # noqa: S311 -- nothing here is a secret

    def user_rows(self) -> Iterator[str]:
        """Rows of users."""
        for number in range(self.users):
            user, random = self.user(number), self.random("name", number)
            first, first_ascii = pick(random, words.FIRST_NAMES)
            last, last_ascii = pick(random, words.LAST_NAMES)
            email = f"{first_ascii}.{last_ascii}{number}@example.com" if number else "admin@example.com"
            role = "customer" if number >= STAFF else "support" if number else "admin"
            state = "active" if number < STAFF or random.random() < 0.96 else pick(random, ("suspended", "closed"))
            shown = first if number < STAFF or random.random() < 0.97 else None
            since = timestamp(user.created)
            yield row(user.id, email, "!", shown, last, role, state, since, since)

    def profile_rows(self) -> Iterator[str]:
        """Rows of user_profiles."""
        for number in range(self.users):
            user, random = self.user(number), self.random("address", number)
            since = timestamp(user.created)
            for address in user.addresses:
                city, state, country, prefix, digits = pick(random, words.PLACES)
                phone = f"+1 555 01{int(random.random() * 100000):05d}" if random.random() < 0.9 else None
                street = f"{pick(random, words.STREETS)} {1 + int(random.random() * 199)}"
                flat = f"Apartment {1 + int(random.random() * 40)}" if random.random() < 0.2 else None
                code = f"{prefix}{int(random.random() * 10**digits):0{digits}d}"
                yield row(address, user.id, phone, street, flat, city, state, country, code, since, since)

    def category_rows(self) -> Iterator[str]:
        """Rows of categories, each after its parent."""
        for number in range(self.categories):
            key, created = self.category(number)
            parent = _parent(number)
            parent_id = None if parent is None else self.category(parent)[0]
            department, noun, _ = _names_in(number)
            name = department if parent is None else f"{noun}s"
            about = f"All of our {department.lower()} range." if parent is None else None
            yield row(key, name, about, parent_id, timestamp(created), timestamp(created))

    def product_rows(self) -> Iterator[str]:
        """Rows of products."""
        for number in range(self.products):
            product, random = self.product(number), self.random("stock", number)
            category, _ = self.category(self._category_of(self.random("product", number)))
            about = f"{product.name}. {pick(random, words.VIRTUES)}" if random.random() < 0.9 else None
            stock = 0 if random.random() < 0.05 else 1 + int(random.random() * 500)
            state = "active" if random.random() < 0.97 else "inactive"
            since = timestamp(self._stocked(number))
            price = decimal(product.cents)
            yield row(product.id, product.name, about, price, category, str(stock), product.sku, state, since, since)

    def image_rows(self) -> Iterator[str]:
        """Rows of product_images: two for each product, of which the first is the primary one."""
        for number in range(self.products):
            created = self._stocked(number)
            for image, is_primary in enumerate(("true", "false")):
                url = f"https://img.example.com/products/{number}/{image + 1}.jpg"
                key = self.id_of("image", number * 2 + image, created)
                yield row(key, self.id_of("product", number, created), url, is_primary, timestamp(created))

    def _stocked(self, number: int) -> int:
        return self.start + DAY + number * 5 * DAY // self.products

    def _category_of(self, random: Random) -> int:
        return len(_DEPARTMENTS) + int(random.random() * (self.categories - len(_DEPARTMENTS)))

    def _hash(self, kind: str, number: int) -> str:
        return blake2b(f"{self.seed}:{kind}:{number}".encode(), digest_size=10).hexdigest()


def row(*values: str | None) -> str:
    """A line of COPY's text format."""
    return "\t".join([r"\N" if value is None else value for value in values]) + "\n"


def timestamp(milliseconds: int) -> str:
    """A time as PostgreSQL reads it."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")


def decimal(cents: int) -> str:
    """An amount of money with two decimals."""
    return f"{cents // 100}.{cents % 100:02d}"


def pick(random: Random, values: Sequence[T]) -> T:
    """One of the values, each as likely."""
    return values[int(random.random() * len(values))]


def _midnight(day: date) -> int:
    return (day - _EPOCH.date()).days * DAY


def _parent(number: int) -> int | None:
    """The category above one. The tree is filled level by level; each category has the same number of branches."""
    return None if number < len(_DEPARTMENTS) else (number - len(_DEPARTMENTS)) // _BRANCHES


def _names_in(number: int) -> tuple[str, str, int]:
    """The department of a category, what one thing in it is called, and how many levels it is below its department."""
    parent = _parent(number)
    if parent is None:
        return _DEPARTMENTS[number], _DEPARTMENTS[number], 0
    department, noun, level = _names_in(parent)
    branch = (number - len(_DEPARTMENTS)) % _BRANCHES
    if level == 0:
        return department, words.DEPARTMENTS[department][branch], 1
    return department, f"{words.QUALIFIERS[level % len(words.QUALIFIERS)][branch]} {noun}", level + 1
