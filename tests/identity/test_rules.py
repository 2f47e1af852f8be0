"""What addresses, names and passwords may be, and that whatever is taken can be stored as it is."""

import unicodedata
from itertools import zip_longest

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.errors import BadUserInputError
from app.identity.rules import checked_email, checked_name, checked_password, is_email, normalised
from app.operations.connect import connected
from app.settings import Settings

EMAIL = "ann@example.com"


def taken(check: object, *values: object) -> bool:
    assert callable(check)
    try:
        check(*values)
    except BadUserInputError:
        return False
    return True


@pytest.mark.parametrize("email", ["a@b", EMAIL, "Ann+shop@Example.COM", "åsa@exämple.se", "x" * 253 + "@y", '"q"@h'])
def test_addresses_are_kept_as_they_are(email: str) -> None:
    assert checked_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        "",
        "@",
        "a@",
        "@b",
        "ab",
        "a@@b",
        "a@b@c",
        "a b@c",
        "a@b ",
        "\ta@b",
        "a@b\n",
        "a\u00a0@b",
        "a\u2003@b",
        "a\0@b",
        "a\x7f@b",
        "a\u200b@b",
        "a\u202e@b",
        "\ud800@b",
        "x" * 254 + "@y",
    ],
)
def test_what_is_no_address_is_told_so(email: str) -> None:
    with pytest.raises(BadUserInputError, match="e-mail address"):
        checked_email(email)
    assert not is_email(email)


@pytest.mark.parametrize("name", [None, "", "Ann", "O’Neil", "Ñandú", "علی‌رضا", "x" * 100])  # noqa: RUF001
def test_names_are_kept_as_they_are(name: str | None) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["x" * 101, "a\0b", "a\nb", "\x1b[31m", "\ud800"])
def test_what_is_no_name_is_told_so(name: str) -> None:
    with pytest.raises(BadUserInputError, match="name"):
        checked_name(name)


@pytest.mark.parametrize(
    "password", ["12345678", "x" * 128, "pass word", "пароль пароль", "\U0001f600" * 8, "e\u0301" * 128]
)
def test_passwords_of_8_to_128_characters(password: str) -> None:
    assert checked_password(password, EMAIL) == unicodedata.normalize("NFC", password)


@pytest.mark.parametrize(
    "password", ["", "1234567", "e\u0301" * 7, "x" * 129, "x" * 1_000_000, "null\0null", "\ud800" * 8]
)
def test_what_is_no_password_is_told_so(password: str) -> None:
    with pytest.raises(BadUserInputError, match="8 to 128 characters"):
        checked_password(password, EMAIL)


@pytest.mark.parametrize("password", [EMAIL, EMAIL.upper()])
def test_the_address_is_no_password(password: str) -> None:
    with pytest.raises(BadUserInputError, match="must not be the e-mail address"):
        checked_password(password, EMAIL)


@given(st.text(max_size=140))
def test_every_composition_of_a_password_is_the_same_one(password: str) -> None:
    normal = normalised(unicodedata.normalize("NFC", password))
    assume(normal is not None)
    assert normalised(unicodedata.normalize("NFD", password)) == normal
    assert normalised(str(normal)) == normal


@pytest.mark.anyio
async def test_whatever_is_taken_can_be_stored(settings: Settings) -> None:
    characters = [
        chr(code) for code in (*range(0x300), *range(0x2000, 0x2070), *range(0xD7F0, 0xE010), 0xFFFF, 0x10FFFF)
    ]
    emails = [text for text in (f"a{character}@b" for character in characters) if taken(checked_email, text)]
    names = [text for text in (f"a{character}b" for character in characters) if taken(checked_name, text)]
    assert len(emails) > 600
    async with connected("users", settings.users_database_url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        insert = "INSERT INTO users (email, password_hash, first_name) SELECT $1, '!', $2 ON CONFLICT DO NOTHING"
        await connection.executemany(insert, zip_longest(emails, names, fillvalue="a@b"))
        stored = await connection.fetch("SELECT email, first_name FROM users")
        await transaction.rollback()
    lowered = {email.lower() for email in emails}
    assert {row["email"] for row in stored} <= {*emails, "a@b"}
    assert len(stored) >= len(lowered)
    assert {row["first_name"] for row in stored} <= {*names, "a@b"}
