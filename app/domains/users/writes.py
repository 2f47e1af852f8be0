"""The changes to the users database: accounts, sessions, and the log-ins that failed.

What a function is given is the transaction that it is a part of, at READ COMMITTED: each statement sees what others
committed before it began. Times that are compared are all the server's.

Whatever touches sessions of an account first writes the account's row, without a change: that makes all of them wait
for one another, and for whoever suspends the account or sets another role. A write and not a lock, because to a
transaction at REPEATABLE READ, say one that an operator types, a lock is no change, and it would miss the new session.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from app.database import Database, Transaction
from app.viewer import Role, Viewer

_CLEANED_AT_ONCE = 100  # rows, more than one transaction of each kind adds; and few enough to be no burden to it


@dataclass(frozen=True)
class Account:
    """What proves who someone is."""

    user: str
    email: str
    password_hash: str


@dataclass(frozen=True)
class NewAccount:
    """An account to be made; its e-mail address and names as they were given."""

    email: str
    password_hash: str
    first_name: str | None
    last_name: str | None


@dataclass(frozen=True)
class Lifetimes:
    """Of refresh tokens, in seconds: how long one renews its session, and how long its row is kept after that."""

    refresh_token: float
    kept: float


@dataclass(frozen=True)
class Limits:
    """How many failed log-ins there may be in the last ``window`` seconds."""

    window: float
    per_account: int
    per_address: int


@dataclass(frozen=True)
class Reused:
    """A refresh token came a second time, and its session has been ended."""

    session: str


# Accounts


async def lowered_and_account(transaction: Transaction, email: str) -> tuple[str, Account | None]:
    """The address as it is told apart from others, which PostgreSQL decides (Python lowers some letters otherwise,
    and each spelling would have its own number of failures), and the account that has it, unless it is deleted."""
    [row] = await transaction.fetch(
        """
        SELECT asked.lowered, u.id, u.email, u.password_hash
        FROM (SELECT lower($1::text)) AS asked (lowered)
        LEFT JOIN users u ON lower(u.email) = lower($1::text) AND u.deleted_at IS NULL
        """,
        email,
    )
    account = Account(str(row["id"]), row["email"], row["password_hash"]) if row["id"] else None
    return row["lowered"], account


async def account_of(database: Database, user: str) -> Account | None:
    """The account of a user, unless it is deleted."""
    rows = await database.fetch(
        "SELECT id, email, password_hash FROM users WHERE id = $1 AND deleted_at IS NULL", UUID(user)
    )
    return next((Account(str(row["id"]), row["email"], row["password_hash"]) for row in rows), None)


async def create_account(transaction: Transaction, account: NewAccount) -> str | None:
    """Make an account of a customer and return the user's id; None where the e-mail address is taken."""
    user = await transaction.fetchval(
        """
        INSERT INTO users (id, email, password_hash, first_name, last_name) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        uuid7(),
        account.email,
        account.password_hash,
        account.first_name,
        account.last_name,
    )
    return None if user is None else str(user)


async def hold_account(transaction: Transaction, account: Account) -> Role | None:
    """Keep others from changing the account until the end of the transaction, and return its role; None where it is
    not active, or its password is no longer the one that was verified."""
    row = await transaction.fetchrow(
        """
        UPDATE users SET status = status
        WHERE id = $1 AND password_hash = $2 AND status = 'active' AND deleted_at IS NULL RETURNING role
        """,
        UUID(account.user),
        account.password_hash,
    )
    return None if row is None else row["role"]


async def set_password(transaction: Transaction, user: str, password_hash: str) -> list[str]:
    """Store another password; return the sessions that ended by it (a trigger of the table ends them)."""
    await transaction.execute("UPDATE users SET password_hash = $2 WHERE id = $1", UUID(user), password_hash)
    rows = await transaction.fetch(
        "SELECT family_id FROM refresh_tokens WHERE user_id = $1 AND revoked_at >= now()", UUID(user)
    )
    return [str(row["family_id"]) for row in rows]


async def store_rehashed(transaction: Transaction, user: str, password_hash: str) -> None:
    """Store the same password, hashed with other parameters: no session ends by it."""
    await transaction.execute("SELECT set_config('storegraph.rehashing', 'on', true)")
    await transaction.execute("UPDATE users SET password_hash = $2 WHERE id = $1", UUID(user), password_hash)
    await transaction.execute("SELECT set_config('storegraph.rehashing', 'off', true)")


# Sessions


async def start_session(
    transaction: Transaction, user: str, role: Role, token_hash: bytes, lifetimes: Lifetimes
) -> Viewer:
    """Start a session of an account that the transaction holds; or that it has just made, which nobody else can see."""
    session = uuid7()
    await _add_token(transaction, session, UUID(user), token_hash, lifetimes)
    return Viewer(user, str(session), role)


async def renew_session(
    transaction: Transaction, token_hash: bytes, next_hash: bytes, lifetimes: Lifetimes
) -> Viewer | Reused | None:
    """Replace a refresh token by the next one of its session, and say whose it is, as things stand now.

    None where it is unknown, expired or revoked, or the account is not active. Of two who use one at the same time, the
    second finds it used, which ends the session for both: one of them has stolen it, and nothing tells which.
    """
    owner = await transaction.fetchrow(
        """
        UPDATE users u SET status = u.status FROM refresh_tokens t WHERE t.token_hash = $1 AND u.id = t.user_id
        RETURNING u.id, u.role, u.status = 'active' AND u.deleted_at IS NULL AS active
        """,
        token_hash,
    )
    # A statement of its own: the one above may have waited for the transaction that used the token.
    token = await transaction.fetchrow(
        """
        SELECT id, family_id, used_at IS NOT NULL AS used, revoked_at IS NULL AND expires_at > now() AS valid
        FROM refresh_tokens WHERE token_hash = $1
        """,
        token_hash,
    )
    if owner is None or token is None:
        return None
    if token["used"]:
        await _revoke(transaction, token["family_id"])
        return Reused(str(token["family_id"]))
    if not token["valid"] or not owner["active"]:
        return None
    await transaction.execute("UPDATE refresh_tokens SET used_at = clock_timestamp() WHERE id = $1", token["id"])
    await _add_token(transaction, token["family_id"], owner["id"], next_hash, lifetimes)
    return Viewer(str(owner["id"]), str(token["family_id"]), owner["role"])


async def end_session(transaction: Transaction, session: str) -> None:
    """End a session, unless it has ended or there is none."""
    await transaction.execute(
        """
        UPDATE users u SET status = u.status FROM refresh_tokens t
        WHERE t.family_id = $1 AND t.used_at IS NULL AND u.id = t.user_id
        """,
        UUID(session),
    )
    await _revoke(transaction, UUID(session))


async def session_of(transaction: Transaction, token_hash: bytes) -> str | None:
    """The session that a refresh token, used or not, belongs to."""
    session = await transaction.fetchval("SELECT family_id FROM refresh_tokens WHERE token_hash = $1", token_hash)
    return None if session is None else str(session)


async def ended_sessions(database: Database, window: float) -> set[str]:
    """The sessions that were ended in the last ``window`` seconds, by whatever and whomever."""
    rows = await database.fetch(
        "SELECT family_id FROM refresh_tokens WHERE revoked_at > now() - make_interval(secs => $1)", window
    )
    return {str(row["family_id"]) for row in rows}


async def _revoke(transaction: Transaction, session: UUID) -> None:
    await transaction.execute(
        """
        UPDATE refresh_tokens SET revoked_at = clock_timestamp()
        WHERE family_id = $1 AND used_at IS NULL AND revoked_at IS NULL
        """,
        session,
    )


async def _add_token(
    transaction: Transaction, session: UUID, user: UUID, token_hash: bytes, lifetimes: Lifetimes
) -> None:
    await transaction.execute(
        """
        INSERT INTO refresh_tokens (id, family_id, user_id, token_hash, expires_at)
        VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
        """,
        uuid7(),
        session,
        user,
        token_hash,
        lifetimes.refresh_token,
    )
    # Also those of users who are no more, which others may be removing just now.
    await transaction.execute(
        """
        DELETE FROM refresh_tokens WHERE id = ANY (ARRAY(
            SELECT id FROM refresh_tokens
            WHERE (user_id = $1 OR user_id IS NULL) AND expires_at < now() - make_interval(secs => $2)
            LIMIT $3 FOR UPDATE SKIP LOCKED
        ))
        """,
        user,
        lifetimes.kept,
        _CLEANED_AT_ONCE,
    )


# Log-ins that failed


async def reserve_attempt(
    transaction: Transaction, account: bytes | None, address: bytes, limits: Limits
) -> UUID | None:
    """Count an attempt as failed, before it is known whether it does; None where there were too many already.

    Those of one account, or of one address, are counted one after the other, so that many at once get no more tries.
    """
    keys = sorted(_lock_key(name) for name in (account, address) if name is not None)  # sorted: against deadlocks
    await transaction.execute("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS keys (key)", keys)
    row = await transaction.fetchrow(
        """
        INSERT INTO login_failures (account, address, failed_at)
        SELECT $1, $2, clock_timestamp() FROM (SELECT clock_timestamp() - make_interval(secs => $3)) AS begin (at)
        WHERE (SELECT count(*) FROM login_failures WHERE account = $1 AND failed_at > begin.at) < $4
            AND (SELECT count(*) FROM login_failures WHERE address = $2 AND failed_at > begin.at) < $5
        RETURNING id
        """,
        account,
        address,
        limits.window,
        limits.per_account,
        limits.per_address,
    )
    await transaction.execute(
        """
        DELETE FROM login_failures WHERE id = ANY (ARRAY(
            SELECT id FROM login_failures WHERE failed_at < now() - make_interval(secs => $1)
            LIMIT $2 FOR UPDATE SKIP LOCKED
        ))
        """,
        limits.window,
        _CLEANED_AT_ONCE,
    )
    return None if row is None else row["id"]


async def forget_attempts(
    transaction: Transaction, attempts: Iterable[UUID] = (), account: bytes | None = None
) -> None:
    """Count these attempts no longer, nor any of this account."""
    await transaction.execute(
        "DELETE FROM login_failures WHERE id = ANY ($1::uuid[]) OR account = $2", list(attempts), account
    )


def _lock_key(name: bytes) -> int:
    return int.from_bytes(name[:8], signed=True)


# For development


async def has_sessions(transaction: Transaction) -> bool:
    """Whether the database is of a revision that has sessions."""
    return bool(await transaction.fetchval("SELECT to_regclass('refresh_tokens') IS NOT NULL"))


async def oldest_account(transaction: Transaction, role: Role) -> Account | None:
    """The active account of a role that was made first."""
    row = await transaction.fetchrow(
        """
        SELECT id, email, password_hash FROM users WHERE role = $1 AND status = 'active' AND deleted_at IS NULL
        ORDER BY created_at, id LIMIT 1
        """,
        role,
    )
    return None if row is None else Account(str(row["id"]), row["email"], row["password_hash"])
