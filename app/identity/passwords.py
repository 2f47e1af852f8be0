"""Passwords as Argon2id hashes (RFC 9106), computed by a few threads while the event loop goes on."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from app.errors import RateLimitedError
from app.settings import Settings

Result = TypeVar("Result")

# The second recommended option of RFC 9106, section 4: 64 MiB and 3 passes. What the settings let run at once takes as
# much memory as many times.
_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


@cache
def _nobodys() -> str:
    """A hash that no password has, to be verified where there is none: it takes as long as a real one."""
    return _HASHER.hash(secrets.token_hex())


class Passwords:
    """At most ``password_hashers`` are computed at once, and ``password_queue`` wait; more are refused.

    For one network, no more than a quarter of that queue are computed or wait, so that others get in beside it.

    Every method that computes raises RateLimitedError where too many wait already.
    """

    def __init__(self, settings: Settings) -> None:
        _nobodys()  # now, or the first unknown address would take twice as long
        self._threads = ThreadPoolExecutor(settings.password_hashers, thread_name_prefix="password")
        self._places = settings.password_hashers + settings.password_queue
        self._places_of_one = max(1, settings.password_queue // 4)
        self._taken: Counter[str] = Counter()
        """Places by the network that they are taken for."""
        self._lock = Lock()  # they are given back by threads

    async def hash(self, password: str, network: str) -> str:
        """The hash to store."""
        return await self._compute(lambda: _HASHER.hash(password), network)

    async def verify(self, password_hash: str | None, password: str, network: str) -> bool:
        """Whether the password has this hash; takes as long where there is none, or what is stored is no hash."""
        return await self._compute(lambda: _verify(password_hash, password), network)

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash that was verified should be made anew, as its parameters are not today's."""
        return _HASHER.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Give up what waits. What is being computed ends by itself, soon."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _compute(self, work: Callable[[], Result], network: str) -> Result:
        if not self._take(network):
            raise RateLimitedError("Too many people are logging in just now. Try again in a few seconds.")
        computed = self._threads.submit(work)
        # Not in a `finally`: a caller who gives up leaves a thread at work.
        computed.add_done_callback(lambda _: self._give_back(network))
        return await asyncio.wrap_future(computed)

    def _take(self, network: str) -> bool:
        with self._lock:
            if self._taken.total() >= self._places or self._taken[network] >= self._places_of_one:
                return False
            self._taken[network] += 1
            return True

    def _give_back(self, network: str) -> None:
        with self._lock:
            self._taken -= Counter((network,))  # which also forgets who has none


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash or _nobodys(), password)
    except VerifyMismatchError:
        return False
    except (ValueError, VerificationError):  # what is stored is a placeholder, say, and took no time
        return _verify(None, password)
