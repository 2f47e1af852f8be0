"""Who asks: accounts prove it by a password, and sessions keep it up by tokens. Knows no GraphQL.

A session is a family of refresh tokens, each of which works once and hands out the next, and the access tokens that
come with them. It ends by a log-out, by a refresh token that comes twice, or by a change of the account (its password,
role or status), whoever makes it.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from app.database import Databases, Transaction
from app.domains.users import writes
from app.domains.users.writes import Account, Lifetimes, NewAccount, Reused
from app.errors import ConflictError, ForbiddenError, OperationError, RateLimitedError, UnauthenticatedError
from app.identity import rules
from app.identity.access_tokens import AccessTokens, ended
from app.identity.attempts import Attempt, Attempts
from app.identity.passwords import Passwords
from app.identity.revocations import Revocations, remembered_for
from app.settings import Settings
from app.viewer import NOBODY, Role, Viewer

# RFC 6750, section 2.1; the scheme's name in any case (RFC 9110, section 11.1).
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)
_REFRESH_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Tokens:
    """What a client gets for a session. ``expires_in`` is in seconds, of the access token."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    viewer: Viewer


@dataclass(frozen=True)
class _Tools:
    """What it takes to sign in."""

    access_tokens: AccessTokens
    attempts: Attempts
    passwords: Passwords


class Identity:
    """Signing up, in and out. ``opened`` also hears of sessions that end elsewhere.

    Where ``jwt_secret`` is not set, signing in is off: whatever hands out tokens raises ForbiddenError, and every token
    is refused. Whatever asks the database can raise what ``Database.write`` does.
    """

    def __init__(self, databases: Databases, settings: Settings) -> None:
        self._users = databases["users"]
        self._revocations = Revocations(self._users, settings)
        self._lifetimes = Lifetimes(settings.refresh_token_lifetime, remembered_for(settings))
        self._tools_or_none: _Tools | None = None
        if settings.jwt_secret is not None:
            secret = settings.jwt_secret.get_secret_value()
            self._tools_or_none = _Tools(
                AccessTokens(secret, settings.access_token_lifetime),
                Attempts(self._users, settings, hmac.digest(secret.encode(), b"failed log-ins", hashlib.sha256)),
                Passwords(settings),
            )

    @classmethod
    @asynccontextmanager
    async def opened(cls, databases: Databases, settings: Settings) -> "AsyncGenerator[Identity]":
        """For as long as the block runs, polling for sessions that end. Works while the database is down."""
        identity = cls(databases, settings)
        try:
            async with identity._revocations.polling() if identity._tools_or_none else nullcontext():
                yield identity
        finally:
            identity.close()

    def close(self) -> None:
        """Let go of the threads that passwords are hashed in."""
        if self._tools_or_none is not None:
            self._tools_or_none.passwords.close()

    @property
    def tokens_kept(self) -> int:
        """How many verified access tokens are kept."""
        return self._tools_or_none.access_tokens.kept if self._tools_or_none else 0

    def viewer_of(self, authorization: str | None) -> Viewer:
        """Who asks, by the header of this name; nobody without one. Asks no database.

        Raises:
            UnauthenticatedError: the header is malformed, or its token is not valid, or its session has ended.
        """
        if authorization is None:
            return NOBODY
        if self._tools_or_none is None:
            raise UnauthenticatedError("Signing in is off here: leave the Authorization header out.")
        given = _BEARER.fullmatch(authorization.strip())
        if given is None:
            raise UnauthenticatedError("Send the access token in the header, as in: Authorization: Bearer eyJ…")
        viewer = self._tools.access_tokens.read(given[1])
        if viewer.session in self._revocations:
            raise ended()
        return viewer

    async def sign_up(
        self, email: str, password: str, first_name: str | None, last_name: str | None, address: str
    ) -> Tokens:
        """Make an account, and start its first session.

        Raises:
            BadUserInputError: the address, the password or a name cannot be one.
            ConflictError: an account has the address. Without mail to it that cannot be hidden from whoever asks.
            RateLimitedError: there were too many attempts from this network address, of which this is one whether or
                not it succeeds; or too many wait.
        """
        passwords = self._tools.passwords
        rules.checked_email(email)
        first_name, last_name = rules.checked_name(first_name), rules.checked_name(last_name)
        normal = rules.checked_password(password, email)
        async with self._attempt(None, address) as attempt:
            account = NewAccount(email, await passwords.hash(normal, attempt.network), first_name, last_name)

        async def work(transaction: Transaction) -> Tokens | None:
            user = await writes.create_account(transaction, account)
            if user is None:
                return None
            return await self._start(transaction, user, "customer")

        if (tokens := await self._users.write(work)) is None:
            raise ConflictError("An account has this e-mail address already. Log in, or take another address.")
        return tokens

    async def log_in(self, email: str, password: str, address: str) -> Tokens:
        """Start a session of the account that has an e-mail address, written in any case.

        Raises:
            UnauthenticatedError: there is none, its password is another, or it is suspended, closed or deleted. All of
                them answer alike, and after the same time.
            RateLimitedError: too many attempts at the account or from the network address failed, or too many wait.
        """
        passwords = self._tools.passwords
        wrong = UnauthenticatedError("The e-mail address or the password is wrong.")
        normal = rules.normalised(password)
        if normal is None or not rules.is_email(email):
            raise wrong  # no account can have these, so nothing is told by it
        async with self._attempt(email, address) as attempt:
            account = attempt.account
            network = attempt.network
            if not await passwords.verify(account and account.password_hash, normal, network) or account is None:
                raise wrong
            rehashed = await passwords.hash(normal, network) if passwords.is_outdated(account.password_hash) else None

        async def work(transaction: Transaction) -> Tokens | None:
            role = await writes.hold_account(transaction, account)
            if role is None:
                return None
            if rehashed is not None:
                await writes.store_rehashed(transaction, account.user, rehashed)
            await attempt.succeed(transaction)
            return await self._start(transaction, account.user, role)

        if (tokens := await self._users.write(work)) is None:
            raise wrong
        return tokens

    async def refresh(self, refresh_token: str) -> Tokens:
        """The next tokens of a session. The refresh token is good for this one time, and each for its full lifetime.

        Raises:
            UnauthenticatedError: the token is unknown, used, expired, or of a session that ended. A used one ends its
                session.
        """
        issue = self._tools.access_tokens.issue
        following = _new_refresh_token()

        async def work(transaction: Transaction) -> Viewer | Reused | None:
            return await writes.renew_session(transaction, _hash(refresh_token), _hash(following), self._lifetimes)

        viewer = await self._users.write(work)
        if isinstance(viewer, Reused):
            self._revocations.add([viewer.session])
        if not isinstance(viewer, Viewer):
            raise UnauthenticatedError("This refresh token is not valid, or no longer: log in again.")
        return Tokens(issue(viewer), following, self._tools.access_tokens.lifetime, viewer)

    async def log_out(self, viewer: Viewer, refresh_token: str | None = None) -> None:
        """End the session of a refresh token, also of a used one, or else the viewer's. One that has ended is no error.

        Raises:
            UnauthenticatedError: there is neither.
        """
        if refresh_token is None and viewer.session is None:
            raise UnauthenticatedError("Send the access token of the session to end, or its refresh token.")

        async def work(transaction: Transaction) -> str | None:
            session = viewer.session
            if refresh_token is not None:
                session = await writes.session_of(transaction, _hash(refresh_token))
            if session is not None:
                await writes.end_session(transaction, session)
            return session

        if session := await self._users.write(work):
            self._revocations.add([session])

    async def change_password(self, viewer: Viewer, old: str, new: str, address: str) -> Tokens:
        """Set another password; all sessions of the account end, and a new one starts.

        Raises:
            BadUserInputError: the new password cannot be one.
            UnauthenticatedError: nobody asks, or the old password is wrong, which counts as a log-in that failed.
            RateLimitedError: as ``log_in`` does.
        """
        passwords = self._tools.passwords
        known = await writes.account_of(self._users, viewer.user) if viewer.user else None
        if known is None:
            raise UnauthenticatedError("Log in to change the password.")
        normal = rules.checked_password(new, known.email)
        wrong = UnauthenticatedError("The old password is wrong.")
        async with self._attempt(known.email, address) as attempt:
            old_normal = rules.normalised(old)
            if old_normal is None or not await passwords.verify(known.password_hash, old_normal, attempt.network):
                raise wrong
            password_hash = await passwords.hash(normal, attempt.network)

        async def work(transaction: Transaction) -> tuple[Tokens, list[str]] | None:
            role = await writes.hold_account(transaction, known)
            if role is None:
                return None
            others = await writes.set_password(transaction, known.user, password_hash)
            await attempt.succeed(transaction)
            return await self._start(transaction, known.user, role), others

        changed = await self._users.write(work)
        if changed is None:
            raise wrong
        self._revocations.add(changed[1])
        return changed[0]

    async def start_session(self, *, email: str | None = None, role: Role | None = None) -> Tokens:
        """A session without a password, for development: of the account with an address, or the oldest of a role.

        Raises:
            OperationError: neither is given, there is no such account, it is not active, or the database has no tables
                for sessions yet.
        """

        async def work(transaction: Transaction) -> Tokens:
            if not await writes.has_sessions(transaction):
                raise OperationError("the users database has no sessions yet; run `storegraph db upgrade` first")
            account = await _account(transaction, email, role)
            role_held = await writes.hold_account(transaction, account)
            if role_held is None:
                raise OperationError(f"the user {account.email} is not active")
            return await self._start(transaction, account.user, role_held)

        return await self._users.write(work)

    @property
    def _tools(self) -> _Tools:
        if self._tools_or_none is None:
            raise ForbiddenError("Signing in is off here.")
        return self._tools_or_none

    @asynccontextmanager
    async def _attempt(self, email: str | None, address: str) -> AsyncGenerator[Attempt]:
        """An attempt that counts as failed, but where the block does not come to look at the password."""
        attempt = await self._tools.attempts.reserve(email, address)
        try:
            yield attempt
        except RateLimitedError:
            await self._users.write(attempt.take_back)
            raise

    async def _start(self, transaction: Transaction, user: str, role: Role) -> Tokens:
        refresh_token = _new_refresh_token()
        viewer = await writes.start_session(transaction, user, role, _hash(refresh_token), self._lifetimes)
        access_tokens = self._tools.access_tokens
        return Tokens(access_tokens.issue(viewer), refresh_token, access_tokens.lifetime, viewer)


async def _account(transaction: Transaction, email: str | None, role: Role | None) -> Account:
    if role is not None:
        account = await writes.oldest_account(transaction, role)
        promoted = "" if role == "customer" else f", then UPDATE users SET role = '{role}' WHERE email = '...'"
        missing = f"no active user has the role {role}: sign up{promoted}"
    elif email is not None:
        _, account = await writes.lowered_and_account(transaction, email)
        missing = f"no user has the e-mail address '{email}'"
    else:
        raise OperationError("say for whom: --email ADDRESS, or --role for the oldest active user who has it")
    if account is None:
        raise OperationError(missing)
    return account


def _new_refresh_token() -> str:
    return secrets.token_urlsafe(_REFRESH_TOKEN_BYTES)


def _hash(refresh_token: str) -> bytes:
    """As it is stored. Random bits need no slow hash: there is nothing to guess them from."""
    return hashlib.sha256(refresh_token.encode(errors="replace")).digest()
