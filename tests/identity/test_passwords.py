"""Hashing passwords: with which parameters, off the event loop, and no more at once than may be."""

import asyncio
from threading import Event, Lock
from time import monotonic

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from app.errors import RateLimitedError
from app.identity import passwords
from app.identity.passwords import Passwords
from app.settings import Settings
from tests.identity.conftest import HERE, until

pytestmark = pytest.mark.anyio

REAL = passwords._HASHER  # pyright: ignore[reportPrivateUsage] -- before a fixture puts a cheap one in its place


class Slow:
    """A hasher that takes until it is told to end. It counts how many hashes are being computed."""

    def __init__(self) -> None:
        self.running = self.most = self.ended = 0
        self.go_on, self.lock = Event(), Lock()

    def hash(self, password: str) -> str:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go_on.wait(20)
        with self.lock:
            self.running -= 1
            self.ended += 1
        return password


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    hasher = Slow()
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    return hasher


@pytest.fixture
def two_and_three(settings: Settings, cheap_passwords: PasswordHasher) -> Passwords:
    """Two hashes at once, and three that wait. Made before the hasher is slow."""
    return Passwords(settings.model_copy(update={"password_hashers": 2, "password_queue": 3}))


async def test_the_parameters_are_those_of_rfc_9106_for_little_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_HASHER", REAL)
    hasher = Passwords(settings)
    password_hash = await hasher.hash("correct horse", HERE)
    found = extract_parameters(password_hash)
    assert (found.type, found.time_cost, found.memory_cost, found.parallelism) == (Type.ID, 3, 65_536, 4)
    assert (found.salt_len, found.hash_len) == (16, 32)
    assert await hasher.verify(password_hash, "correct horse", HERE)
    assert not hasher.is_outdated(password_hash)
    assert extract_parameters(passwords._nobodys()) == found  # pyright: ignore[reportPrivateUsage]
    hasher.close()


async def test_the_event_loop_goes_on_meanwhile(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real hasher, which must let go of Python's lock too."""
    monkeypatch.setattr(passwords, "_HASHER", REAL)
    hasher = Passwords(settings)
    hashing = asyncio.create_task(hasher.hash("correct horse", HERE))
    ticks, began = 0, monotonic()
    while not hashing.done():
        await asyncio.sleep(0)
        ticks += 1
    assert ticks > 100, f"in {monotonic() - began:.2f} s"
    hasher.close()


async def test_no_hash_and_a_broken_one_match_no_password(two_and_three: Passwords) -> None:
    good = await two_and_three.hash("correct horse", HERE)
    assert await two_and_three.verify(good, "correct horse", HERE)
    assert not await two_and_three.verify(good, "Correct horse", HERE)
    for bad in (None, "", "!", "correct horse", good[:-10], good[:-1] + "é", good.replace("argon2id", "argon2x")):
        assert not await two_and_three.verify(bad, "correct horse", HERE)
    two_and_three.close()


async def test_two_at_once_three_wait_and_the_sixth_is_refused_at_once(two_and_three: Passwords, slow: Slow) -> None:
    hashing = [asyncio.create_task(two_and_three.hash(f"{number}", f"{number}")) for number in range(5)]
    await until(lambda: slow.running == 2)
    for _ in range(3):
        with pytest.raises(RateLimitedError, match="Try again in a few seconds"):
            await two_and_three.hash("one too many", HERE)
    slow.go_on.set()
    assert await asyncio.gather(*hashing) == ["0", "1", "2", "3", "4"]
    assert slow.most == 2
    assert await two_and_three.hash("now", HERE) == "now"
    two_and_three.close()


async def test_who_gives_up_while_waiting_leaves_the_place_and_while_hashing_keeps_it(
    two_and_three: Passwords, slow: Slow
) -> None:
    """The thread goes on: it must be counted until it has ended."""
    hashing = [asyncio.create_task(two_and_three.hash(f"{number}", f"{number}")) for number in range(5)]
    await until(lambda: slow.running == 2)
    for task in hashing:
        task.cancel()
    await asyncio.gather(*hashing, return_exceptions=True)
    again = [asyncio.create_task(two_and_three.hash(f"{number}", f"again {number}")) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimitedError):
        await two_and_three.hash("one too many", HERE)
    slow.go_on.set()
    assert await asyncio.gather(*again) == ["0", "1", "2"]
    await until(lambda: slow.running == 0)
    assert slow.ended == 5, "those that waited were never begun"
    two_and_three.close()


async def test_one_network_takes_a_quarter_of_the_queue_and_others_get_in(
    settings: Settings, cheap_passwords: PasswordHasher, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_HASHER", cheap_passwords)
    hasher = Passwords(settings.model_copy(update={"password_hashers": 2, "password_queue": 12}))
    monkeypatch.setattr(passwords, "_HASHER", slow)
    flood = [asyncio.create_task(hasher.hash("flood", HERE)) for _ in range(20)]
    await until(lambda: sum(task.done() for task in flood) == 17)
    others = [asyncio.create_task(hasher.hash(f"{number}", f"192.0.2.{number + 2}")) for number in range(11)]
    await asyncio.sleep(0)
    slow.go_on.set()
    assert await asyncio.gather(*others) == [f"{number}" for number in range(11)]
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert [isinstance(outcome, RateLimitedError) for outcome in outcomes] == [False] * 3 + [True] * 17
    assert await hasher.hash("again", HERE) == "again"
    hasher.close()


async def test_what_waits_is_given_up_at_the_end(two_and_three: Passwords, slow: Slow) -> None:
    hashing = [asyncio.create_task(two_and_three.hash(f"{number}", f"{number}")) for number in range(5)]
    await until(lambda: slow.running == 2)
    two_and_three.close()
    slow.go_on.set()
    outcomes = await asyncio.gather(*hashing, return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["0", "1"]
