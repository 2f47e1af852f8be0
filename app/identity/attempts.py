"""How many log-ins may fail, and how many sign-ups there may be: so many of one account, and so many from one address,
for all processes together.

An attempt is counted before its password is verified, so that many at once get no more tries than one after the other.
A log-in that succeeds is taken back; a sign-up is not, or one address could make accounts without end. Accounts and
addresses are stored as keyed hashes: what is stored names nobody, and an e-mail address that no account has is counted
alike.
"""

import hashlib
import hmac
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from math import ceil
from uuid import UUID

from app.database import Database, Transaction
from app.domains.users import writes
from app.domains.users.writes import Account, Limits
from app.errors import RateLimitedError
from app.settings import Settings


@dataclass(frozen=True)
class Attempt:
    """One that may be made: from where, the account that it is about, if there is one, and how to take it back."""

    id: UUID
    network: str
    account: Account | None
    name: bytes | None

    async def take_back(self, transaction: Transaction) -> None:
        """Do not count this one."""
        await writes.forget_attempts(transaction, [self.id])

    async def succeed(self, transaction: Transaction) -> None:
        """Count none of the account's, this one included."""
        await writes.forget_attempts(transaction, [self.id], self.name)


class Attempts:
    """Counts the attempts in the users database. ``key`` is secret, and always the same."""

    def __init__(self, users: Database, settings: Settings, key: bytes) -> None:
        self._users = users
        self._key = key
        self._limits = Limits(
            settings.login_window, settings.max_failures_per_account, settings.max_failures_per_address
        )

    async def reserve(self, email: str | None, address: str) -> Attempt:
        """Count an attempt to prove to be who has an e-mail address; with None, of the address alone.

        Raises:
            RateLimitedError: the account or the address, it does not say which, had too many.
        """

        network = network_of(address)

        async def work(transaction: Transaction) -> Attempt | None:
            account, name = None, None
            if email is not None:
                lowered, account = await writes.lowered_and_account(transaction, email)
                name = self._hashed("account", lowered)
            hashed = self._hashed("address", network)
            id_ = await writes.reserve_attempt(transaction, name, hashed, self._limits)
            return None if id_ is None else Attempt(id_, network, account, name)

        attempt = await self._users.write(work)
        if attempt is None:
            minutes = ceil(self._limits.window / 60)
            raise RateLimitedError(f"Too many attempts. Try again in {minutes} minute{'s' if minutes > 1 else ''}.")
        return attempt

    def _hashed(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{kind}:{text}".encode(), hashlib.sha256)


def network_of(address: str) -> str:
    """What is counted as one address: a whole /64 of IPv6, since that is what one customer of a provider has."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:  # of a Unix socket, say
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)
