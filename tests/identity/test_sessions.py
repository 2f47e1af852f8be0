"""Signing up, in and out: what is handed out, what ends it, and what each refusal says."""

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from app.database import Databases
from app.errors import (
    BadUserInputError,
    ConflictError,
    ForbiddenError,
    RateLimitedError,
    UnauthenticatedError,
)
from app.identity import passwords
from app.identity.sessions import Identity, Tokens
from app.settings import Settings
from app.viewer import NOBODY
from tests.identity.conftest import HERE, PASSWORD, Door

pytestmark = pytest.mark.anyio

WRONG = r"^The e-mail address or the password is wrong\.$"
OTHER_PASSWORD = "another password"


def viewer(door: Door, tokens: Tokens) -> object:
    return door.identity.viewer_of(f"Bearer {tokens.access_token}")


async def test_an_account_has_a_session_from_the_start_and_more_by_its_password(door: Door) -> None:
    tokens = await door.sign_up("Ann@Example.com")
    [user] = await door.rows("SELECT * FROM users")
    assert tokens.viewer.user == str(user["id"])
    assert tokens.expires_in == 900
    assert (user["email"], user["role"], user["status"]) == ("Ann@Example.com", "customer", "active")
    assert (user["first_name"], user["last_name"]) == ("Ann", None)
    assert user["password_hash"].startswith("$argon2id$")
    again = await door.log_in("ANN@example.COM")
    assert again.viewer.user == tokens.viewer.user
    assert again.viewer.session != tokens.viewer.session
    for each in (tokens, again):
        assert viewer(door, each) == each.viewer
        assert each.viewer.role == "customer"


async def test_what_is_handed_out_is_not_what_is_stored(door: Door) -> None:
    tokens = await door.sign_up()
    assert re.fullmatch(r"[\w-]{43}", tokens.refresh_token)
    assert tokens.refresh_token not in repr(tokens)
    assert tokens.access_token not in repr(tokens)
    await door.identity.refresh(tokens.refresh_token)
    with pytest.raises(UnauthenticatedError):
        await door.log_in(password="not the password")
    stored = [await door.rows(f"SELECT * FROM {table}") for table in ("users", "refresh_tokens", "login_failures")]
    assert [len(rows) for rows in stored] == [1, 2, 2]
    for secret in (tokens.refresh_token, tokens.access_token, PASSWORD, HERE):
        assert secret not in str(stored)


async def test_a_session_keeps_its_place_and_gets_another_refresh_token_at_each_use(door: Door) -> None:
    seen = [await door.sign_up()]
    for _ in range(3):
        seen.append(await door.identity.refresh(seen[-1].refresh_token))
    assert len({tokens.refresh_token for tokens in seen}) == 4
    assert {tokens.viewer for tokens in seen} == {seen[0].viewer}
    assert [viewer(door, tokens) for tokens in seen] == [seen[0].viewer] * 4


@pytest.mark.parametrize("used", [0, 1, 2])
async def test_a_refresh_token_that_comes_twice_ends_the_session(door: Door, used: int) -> None:
    seen = [await door.sign_up()]
    other = await door.log_in()
    for _ in range(3):
        seen.append(await door.identity.refresh(seen[-1].refresh_token))
    assert not await door.goes_on(seen[used])
    assert not await door.goes_on(seen[-1])
    for tokens in seen:
        with pytest.raises(UnauthenticatedError):
            viewer(door, tokens)
    assert viewer(door, other) == other.viewer
    assert await door.goes_on(other)


async def test_of_many_at_the_same_time_one_gets_a_token_and_none_keeps_it(door: Door) -> None:
    """The winner may have been the thief."""
    tokens = await door.sign_up()
    answers = await asyncio.gather(
        *(door.identity.refresh(tokens.refresh_token) for _ in range(8)), return_exceptions=True
    )
    winners = [answer for answer in answers if isinstance(answer, Tokens)]
    assert len(winners) == 1
    assert all(isinstance(answer, UnauthenticatedError) for answer in answers if answer not in winners)
    assert not await door.goes_on(winners[0])
    assert await door.value("SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL") == 0


@pytest.mark.parametrize("token", ["", "x", "é" * 43, "\ud800", "x" * 100_000])
async def test_a_refresh_token_of_nobody(door: Door, token: str) -> None:
    with pytest.raises(UnauthenticatedError, match="log in again"):
        await door.identity.refresh(token)
    await door.identity.log_out(NOBODY, token)


async def test_a_refresh_token_that_has_expired(door: Door) -> None:
    tokens = await door.sign_up()
    await door.execute("UPDATE refresh_tokens SET expires_at = now()")
    assert not await door.goes_on(tokens)
    assert viewer(door, tokens) == tokens.viewer, "its access token has a time of its own"


async def test_each_refresh_token_has_its_full_lifetime(door: Door) -> None:
    tokens = await door.sign_up()
    await door.execute("UPDATE refresh_tokens SET expires_at = now() + interval '1 minute'")
    await door.identity.refresh(tokens.refresh_token)
    left = await door.value("SELECT expires_at - now() AS left FROM refresh_tokens WHERE used_at IS NULL")
    assert 29.9 < left.total_seconds() / 86_400 <= 30


async def test_log_out_ends_the_viewers_session_at_once_and_only_that(door: Door) -> None:
    tokens, other = await door.sign_up(), await door.log_in()
    for _ in range(2):
        await door.identity.log_out(tokens.viewer)
    with pytest.raises(UnauthenticatedError):
        viewer(door, tokens)
    assert not await door.goes_on(tokens)
    assert viewer(door, other) == other.viewer
    assert await door.goes_on(other)


@pytest.mark.parametrize("used", [False, True])
async def test_log_out_by_refresh_token_ends_that_session(door: Door, used: bool) -> None:
    tokens, other = await door.sign_up(), await door.log_in()
    latest = await door.identity.refresh(tokens.refresh_token) if used else tokens
    for _ in range(2):
        await door.identity.log_out(other.viewer, tokens.refresh_token)
    with pytest.raises(UnauthenticatedError):
        viewer(door, latest)
    assert not await door.goes_on(latest)
    assert await door.goes_on(other)


async def test_nobody_has_nothing_to_log_out_of(door: Door) -> None:
    with pytest.raises(UnauthenticatedError, match="refresh token"):
        await door.identity.log_out(NOBODY)


async def test_another_password_ends_every_session_and_starts_one(door: Door) -> None:
    before = [await door.sign_up(), await door.log_in()]
    stranger = await door.sign_up("bob@example.com")
    tokens = await door.identity.change_password(before[0].viewer, PASSWORD, OTHER_PASSWORD, HERE)
    for each in before:
        with pytest.raises(UnauthenticatedError):
            viewer(door, each)
        assert not await door.goes_on(each)
    for each in (tokens, stranger):
        assert viewer(door, each) == each.viewer
        assert await door.goes_on(each)
    with pytest.raises(UnauthenticatedError, match=WRONG):
        await door.log_in()
    await door.log_in(password=OTHER_PASSWORD)


async def test_a_wrong_old_password_changes_nothing_and_counts_as_a_failed_log_in(door: Door) -> None:
    tokens = await door.sign_up()
    for old in ("not the password", "short", PASSWORD.upper(), "", "x" * 5):
        with pytest.raises(UnauthenticatedError, match=r"^The old password is wrong\.$"):
            await door.identity.change_password(tokens.viewer, old, OTHER_PASSWORD, HERE)
    with pytest.raises(RateLimitedError):
        await door.identity.change_password(tokens.viewer, PASSWORD, OTHER_PASSWORD, HERE)
    with pytest.raises(RateLimitedError):
        await door.log_in()
    assert await door.goes_on(tokens)


@pytest.mark.parametrize("new", ["short", "ANN@example.com", "x" * 129, "null\0null\0null"])
async def test_a_new_password_obeys_the_rules(door: Door, new: str) -> None:
    tokens = await door.sign_up()
    with pytest.raises(BadUserInputError):
        await door.identity.change_password(tokens.viewer, PASSWORD, new, HERE)
    with pytest.raises(UnauthenticatedError, match="Log in to"):
        await door.identity.change_password(NOBODY, PASSWORD, OTHER_PASSWORD, HERE)
    await door.log_in()


async def test_of_two_changes_of_the_password_at_the_same_time_one_is_made(door: Door) -> None:
    tokens = await door.sign_up()
    change = door.identity.change_password
    answers = await asyncio.gather(
        *(change(tokens.viewer, PASSWORD, f"another password {n}", HERE) for n in range(4)), return_exceptions=True
    )
    [winner] = [answer for answer in answers if isinstance(answer, Tokens)]
    assert await door.goes_on(winner)
    assert await door.value("SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL") == 1


STATES = {
    "unknown": "UPDATE users SET email = 'somebody@example.com'",
    "suspended": "UPDATE users SET status = 'suspended'",
    "closed": "UPDATE users SET status = 'closed'",
    "deleted": "UPDATE users SET deleted_at = now()",
    "without a password": "UPDATE users SET password_hash = '!'",
    "another hash": "UPDATE users SET password_hash = '$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW'",
    "a broken hash": "UPDATE users SET password_hash = '$argon2id$v=19$m=65536,t=3,p=4$AAAA'",
}


@pytest.mark.parametrize("state", STATES)
async def test_all_that_keeps_one_out_answers_alike_and_hashes_once(
    door: Door, state: str, monkeypatch: pytest.MonkeyPatch, cheap_passwords: PasswordHasher
) -> None:
    await door.sign_up()
    await door.execute("DELETE FROM login_failures")  # the sign-up
    await door.execute(STATES[state])
    computed = 0

    def verify(password_hash: str, password: str) -> bool:
        nonlocal computed
        with suppress(VerifyMismatchError):
            matches = cheap_passwords.verify(password_hash, password)
            computed += 1
            return matches
        computed += 1
        raise VerifyMismatchError

    monkeypatch.setattr(passwords, "_HASHER", Mock(wraps=cheap_passwords, verify=verify))
    with pytest.raises(UnauthenticatedError, match=WRONG):
        await door.log_in()
    assert computed == 1
    assert await door.value("SELECT count(*) FROM login_failures") == 1


@pytest.mark.parametrize("state", ["suspended", "closed", "deleted"])
async def test_whoever_is_kept_out_gets_no_further_tokens(door: Door, state: str) -> None:
    tokens = await door.sign_up()
    await door.execute(STATES[state])
    assert not await door.goes_on(tokens)
    await door.execute("UPDATE users SET status = 'active', deleted_at = NULL")
    assert not await door.goes_on(tokens), "the session has ended for good"
    await door.log_in()


async def test_the_tokens_of_another_role_are_other_tokens(door: Door) -> None:
    tokens = await door.sign_up()
    await door.execute("UPDATE users SET role = 'admin'")
    assert not await door.goes_on(tokens)
    again = await door.log_in()
    assert viewer(door, again) == again.viewer
    assert again.viewer.role == "admin"


@pytest.mark.parametrize("email", ["ann@example.com", "ANN@EXAMPLE.COM"])
@pytest.mark.parametrize("deleted", [False, True])
async def test_an_address_that_is_taken(door: Door, email: str, deleted: bool) -> None:
    await door.sign_up()
    if deleted:
        await door.execute("UPDATE users SET deleted_at = now()")
    with pytest.raises(ConflictError, match="already"):
        await door.sign_up(email)
    assert await door.value("SELECT count(*) FROM users") == 1


async def test_of_two_who_take_an_address_at_the_same_time_one_gets_it(door: Door) -> None:
    answers = await asyncio.gather(*(door.sign_up(email) for email in ("a@b.c", "A@B.C") * 4), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError"] * 7 + ["Tokens"]


@pytest.mark.parametrize(
    "email", ["x", "no at.example", "a@b@c", "a b@example.com", "x\0@example.com", "\ud800@b.c", "x" * 300]
)
async def test_log_in_with_what_no_account_can_have_is_merely_wrong(door: Door, email: str) -> None:
    with pytest.raises(UnauthenticatedError, match=WRONG):
        await door.log_in(email)
    with pytest.raises(UnauthenticatedError, match=WRONG):
        await door.log_in(password="\ud800\0")
    with pytest.raises(BadUserInputError):
        await door.sign_up(email)


async def test_a_password_is_the_same_however_its_letters_are_composed(door: Door) -> None:
    await door.sign_up(password="caf\u00e9 au lait")
    await door.log_in(password="cafe\u0301 au lait")


async def test_a_hash_of_other_parameters_is_made_anew_and_no_session_ends(
    door: Door, monkeypatch: pytest.MonkeyPatch, cheap_passwords: PasswordHasher
) -> None:
    await door.sign_up()
    other = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    await door.execute("UPDATE users SET password_hash = $1", other)
    with monkeypatch.context() as before:
        before.setattr(passwords, "_HASHER", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
        tokens = await door.log_in()
        assert await door.value("SELECT password_hash FROM users") == other
    await door.log_in()
    stored = await door.value("SELECT password_hash FROM users")
    assert stored.startswith("$argon2id$")
    assert stored != other
    assert not cheap_passwords.check_needs_rehash(stored)
    assert await door.goes_on(tokens)


async def test_old_rows_go_when_their_user_comes(door: Door) -> None:
    tokens = await door.sign_up()
    for _ in range(3):
        tokens = await door.identity.refresh(tokens.refresh_token)
    gone = await door.sign_up("gone@example.com")
    await door.execute("DELETE FROM users WHERE id = $1::text::uuid", gone.viewer.user)
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    await door.execute(
        "UPDATE refresh_tokens SET expires_at = $1 WHERE used_at IS NOT NULL OR user_id IS NULL", long_ago
    )
    assert await door.value("SELECT count(*) FROM refresh_tokens") == 5
    await door.execute(
        "UPDATE refresh_tokens SET expires_at = now() - interval '10 minutes' "
        "WHERE created_at = (SELECT min(created_at) FROM refresh_tokens)"
    )
    assert await door.goes_on(tokens)
    assert await door.value("SELECT count(*) FROM refresh_tokens WHERE expires_at = $1", long_ago) == 0
    assert await door.value("SELECT count(*) FROM refresh_tokens WHERE expires_at < now()") == 1, (
        "kept: see RefreshToken"
    )


async def test_where_signing_in_is_off(settings: Settings) -> None:
    off = settings.model_copy(update={"jwt_secret": None})
    async with Databases.opened(off) as databases, Identity.opened(databases, off) as identity:
        assert identity.viewer_of(None) == NOBODY
        with pytest.raises(UnauthenticatedError, match="Signing in is off"):
            identity.viewer_of("Bearer x")
        for attempt in (
            identity.sign_up("a@b.c", PASSWORD, None, None, HERE),
            identity.log_in("a@b.c", PASSWORD, HERE),
            identity.refresh("x"),
            identity.change_password(NOBODY, PASSWORD, OTHER_PASSWORD, HERE),
        ):
            with pytest.raises(ForbiddenError, match="off"):
                await attempt
