"""How many log-ins may fail, one after the other and all at once, and what is stored of them."""

import asyncio
import hashlib
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.database import Databases
from app.errors import ConflictError, RateLimitedError, UnauthenticatedError
from app.identity.attempts import network_of
from app.identity.sessions import Identity
from app.settings import Settings
from tests.identity.conftest import HERE, PASSWORD, Door

pytestmark = pytest.mark.anyio

ELSEWHERE = "203.0.113.1"
TOO_MANY = r"^Too many attempts\. Try again in 15 minutes\.$"


async def fails(door: Door, times: int, email: str = "ann@example.com", address: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(UnauthenticatedError):
            await door.log_in(email, "not the password", address)


async def is_refused(door: Door, email: str = "ann@example.com", address: str = HERE) -> None:
    with pytest.raises(RateLimitedError, match=TOO_MANY):
        await door.log_in(email, PASSWORD, address)


@pytest.mark.parametrize("email", ["ann@example.com", "nobody@example.com"])
async def test_five_failures_of_an_account_known_or_not_and_from_wherever(door: Door, email: str) -> None:
    await door.sign_up(address=ELSEWHERE)
    for number in range(5):
        await fails(door, 1, email.upper() if number % 2 else email, f"192.0.2.{number}")
    await is_refused(door, email, "198.51.100.1")
    with pytest.raises(UnauthenticatedError):
        await door.log_in("somebody.else@example.com", address="198.51.100.1")


async def test_thirty_failures_of_an_address_at_whatever_account(door: Door) -> None:
    await door.sign_up(address=ELSEWHERE)
    for number in range(30):
        await fails(door, 1, f"user{number}@example.com")
    await is_refused(door)
    await door.log_in(address="192.0.2.2")
    with pytest.raises(RateLimitedError, match=TOO_MANY):
        await door.sign_up("carol@example.com")


async def test_a_log_in_that_succeeds_clears_those_of_its_account_and_no_others(door: Door) -> None:
    await door.sign_up(address=ELSEWHERE)
    await fails(door, 5, "bob@example.com", "192.0.2.2")
    for _ in range(2):
        await fails(door, 4)
        await door.log_in()
    await fails(door, 5)
    await is_refused(door)
    await is_refused(door, "bob@example.com", "192.0.2.2")


async def test_failures_are_forgotten_when_the_window_is_over(door: Door) -> None:
    await door.sign_up(address=ELSEWHERE)
    await fails(door, 5)
    await is_refused(door)
    await door.execute("UPDATE login_failures SET failed_at = failed_at - interval '899 seconds'")
    await is_refused(door)
    await door.execute("UPDATE login_failures SET failed_at = failed_at - interval '1 second'")
    await door.log_in()


async def test_what_is_refused_does_not_count(door: Door) -> None:
    """Or somebody who goes on trying would keep the account shut for ever."""
    await fails(door, 5)
    for _ in range(3):
        await is_refused(door)
    assert await door.value("SELECT count(*) FROM login_failures") == 5


async def test_old_rows_go_whosever_they_are(door: Door) -> None:
    await fails(door, 3, "somebody@example.com", "192.0.2.9")
    await door.execute("UPDATE login_failures SET failed_at = now() - interval '901 seconds'")
    await fails(door, 1)
    assert await door.value("SELECT count(*) FROM login_failures") == 1


@pytest.mark.parametrize("account", ["one", "each its own"])
async def test_fifty_at_once_get_no_more_tries_than_one_after_the_other(
    door: Door, signing: Settings, account: str
) -> None:
    """From two processes, so that no lock in one of them could be why."""
    await door.sign_up(address=ELSEWHERE)
    async with Databases.opened(signing) as databases:
        other = Identity(databases, signing)
        emails = ["ann@example.com" if account == "one" else f"user{number}@example.com" for number in range(50)]
        answers = await asyncio.gather(
            *(
                (other if number % 2 else door.identity).log_in(
                    email, "not the password", f"192.0.2.{number}" if account == "one" else HERE
                )
                for number, email in enumerate(emails)
            ),
            return_exceptions=True,
        )
        other.close()
    kinds = [type(answer) for answer in answers]
    tried = 5 if account == "one" else 30
    assert kinds.count(UnauthenticatedError) == tried
    assert kinds.count(RateLimitedError) == 50 - tried


async def test_right_passwords_at_once_all_get_in_where_they_are_no_more_than_may_fail(door: Door) -> None:
    await door.sign_up(address=ELSEWHERE)
    answers = await asyncio.gather(*(door.log_in() for _ in range(5)))
    assert len({answer.viewer.session for answer in answers}) == 5
    assert await door.value("SELECT count(*) FROM login_failures") == 1  # the sign-up


async def test_whoever_is_refused_since_too_many_wait_has_not_failed(door: Door, signing: Settings) -> None:
    tokens = await door.sign_up()
    one_at_a_time = signing.model_copy(update={"password_hashers": 1, "password_queue": 0})
    busy = Identity(door.databases, one_at_a_time)
    assert busy._tools.passwords._take("192.0.2.9")  # pyright: ignore[reportPrivateUsage]
    for attempt in (
        busy.log_in("ann@example.com", PASSWORD, HERE),
        busy.log_in("nobody@example.com", PASSWORD, HERE),
        busy.sign_up("bob@example.com", PASSWORD, None, None, HERE),
        busy.change_password(tokens.viewer, PASSWORD, "another password", HERE),
    ):
        with pytest.raises(RateLimitedError, match="in a few seconds"):
            await attempt
    assert await door.value("SELECT count(*) FROM login_failures") == 1  # the sign-up
    busy._tools.passwords._give_back("192.0.2.9")  # pyright: ignore[reportPrivateUsage]
    await busy.log_in("ann@example.com", PASSWORD, HERE)
    busy.close()


async def test_thirty_sign_ups_of_an_address_succeed_or_not(door: Door) -> None:
    for number in range(30):
        await door.sign_up(f"user{number}@example.com")
    with pytest.raises(RateLimitedError, match=TOO_MANY):
        await door.sign_up("one.more@example.com")
    await is_refused(door, "user1@example.com")
    await door.sign_up("one.more@example.com", address="192.0.2.2")
    await door.log_in("user1@example.com", address="192.0.2.2")


async def test_asking_which_addresses_have_an_account_is_limited(door: Door) -> None:
    await door.sign_up("bob@example.com", address=ELSEWHERE)
    for _ in range(30):
        with pytest.raises(ConflictError):
            await door.sign_up("bob@example.com")
    with pytest.raises(RateLimitedError, match=TOO_MANY):
        await door.sign_up("bob@example.com")
    await door.sign_up("carol@example.com", address="192.0.2.2")
    await door.log_in("bob@example.com", address="192.0.2.2")


async def test_letters_that_only_postgresql_thinks_the_same_are_one_account(door: Door) -> None:
    """Python lowers İ to two characters. An address with ten of the letter i would have a thousand spellings."""
    await door.sign_up("pippi@example.com")
    [same] = await door.rows("SELECT lower('İ') = lower('i') AS same")
    await fails(door, 3, "pippi@example.com")
    await fails(door, 2, "PİPPİ@example.com")
    if same["same"]:
        await is_refused(door, "pippi@example.com")
    else:
        await door.log_in("pippi@example.com")


async def test_nothing_that_is_stored_says_who_or_from_where(door: Door) -> None:
    await fails(door, 1)
    [row] = await door.rows("SELECT account, address FROM login_failures")
    assert len(row["account"]) == len(row["address"]) == 32
    assert row["account"] != row["address"]
    unkeyed = {hashlib.sha256(text.encode()).digest() for text in ("ann@example.com", "account:ann@example.com")}
    assert row["account"] not in unkeyed


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
async def test_what_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.integers(2**61, 2**62 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_all_that_one_customer_has_of_ipv6_is_one_address(network: int, host: int, other: int) -> None:
    """2000::/3 is all that is given out."""
    first, second = (str(IPv6Address(network << 64 | each)) for each in (host, other))
    assert network_of(first) == network_of(second)
    assert network_of(first) != network_of(str(IPv6Address((network ^ 1) << 64 | host)))
