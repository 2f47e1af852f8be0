"""Access tokens of sessions that ended elsewhere: refused from the next poll on, and never because a poll failed."""

import asyncio
import logging

import pytest

from app.database import Databases
from app.errors import DatabaseUnavailableError, UnauthenticatedError
from app.identity.sessions import Identity, Tokens
from app.operations.connect import connected
from app.settings import Settings
from tests.identity.conftest import HERE, PASSWORD, Door, until
from tests.proxy import proxied

pytestmark = pytest.mark.anyio


def accepts(identity: Identity, tokens: Tokens) -> bool:
    try:
        return identity.viewer_of(f"Bearer {tokens.access_token}") == tokens.viewer
    except UnauthenticatedError:
        return False


async def poll(identity: Identity) -> None:
    await identity._revocations.poll()  # pyright: ignore[reportPrivateUsage] -- what the background task does


ENDS = {
    "suspended": "UPDATE users SET status = 'suspended'",
    "closed": "UPDATE users SET status = 'closed'",
    "another role": "UPDATE users SET role = 'support'",
    "soft deleted": "UPDATE users SET deleted_at = now()",
    "another password": "UPDATE users SET password_hash = '!'",
    "deleted": "DELETE FROM users",
    "revoked": "UPDATE refresh_tokens SET revoked_at = now() WHERE used_at IS NULL",
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_session_that_is_ended_by_hand_is_refused_from_the_next_poll_on(door: Door, end: str) -> None:
    fresh = await door.sign_up()
    renewed = await door.identity.refresh(fresh.refresh_token)
    await poll(door.identity)
    assert accepts(door.identity, renewed)
    await door.execute(ENDS[end])
    assert accepts(door.identity, renewed), "no request asks the database for its token"
    await poll(door.identity)
    assert not accepts(door.identity, fresh)
    assert not accepts(door.identity, renewed)


@pytest.mark.parametrize("change", ["UPDATE users SET first_name = 'Anna'", "UPDATE users SET status = 'active'"])
async def test_other_changes_end_nothing(door: Door, change: str) -> None:
    tokens = await door.sign_up()
    await door.execute(change)
    await poll(door.identity)
    assert accepts(door.identity, tokens)


async def test_another_process_hears_of_it_without_being_asked(door: Door, signing: Settings) -> None:
    tokens, other = await door.sign_up(), await door.log_in()
    quick = signing.model_copy(update={"revocation_poll": 0.02})
    async with Databases.opened(quick) as databases, Identity.opened(databases, quick) as elsewhere:
        assert accepts(elsewhere, tokens)
        await door.identity.log_out(tokens.viewer)
        await until(lambda: not accepts(elsewhere, tokens))
        assert accepts(elsewhere, other)


async def test_a_process_that_starts_knows_what_ended_before(door: Door, signing: Settings) -> None:
    tokens = await door.sign_up()
    await door.identity.log_out(tokens.viewer)
    async with Databases.opened(signing) as databases, Identity.opened(databases, signing) as elsewhere:
        assert not accepts(elsewhere, tokens)


async def test_a_poll_that_was_on_its_way_does_not_forget_what_ended_here(door: Door) -> None:
    tokens = await door.sign_up()
    revocations = door.identity._revocations  # pyright: ignore[reportPrivateUsage]
    poll = asyncio.create_task(revocations.poll())
    await asyncio.sleep(0)  # it has noted what ended here until now, and asks
    revocations.add([str(tokens.viewer.session)])
    await poll
    assert not accepts(door.identity, tokens)


async def test_an_end_that_commits_long_after_its_time_is_heard_of(door: Door, signing: Settings) -> None:
    tokens = await door.sign_up()
    async with connected("users", signing.users_database_url) as slow:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("UPDATE users SET status = 'suspended'")
        for _ in range(2):
            await poll(door.identity)
        assert accepts(door.identity, tokens)
        await transaction.commit()
    await poll(door.identity)
    assert not accepts(door.identity, tokens)


async def test_what_ended_before_every_access_token_began_is_forgotten(door: Door) -> None:
    tokens = await door.sign_up()
    for seconds, is_known in ((0, True), (959, True), (962, False)):
        await door.execute("UPDATE refresh_tokens SET revoked_at = now() - make_interval(secs => $1)", float(seconds))
        await poll(door.identity)
        assert accepts(door.identity, tokens) is not is_known


async def test_while_the_database_is_down_the_last_known_set_stays(
    door: Door, signing: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    tokens, ended = await door.sign_up(), await door.log_in()
    await door.identity.log_out(ended.viewer)
    async with proxied(signing.users_database_url) as (proxy, url):
        through = signing.model_copy(update={"users_database_url": url, "revocation_poll": 0.02})
        async with Databases.opened(through) as databases, Identity.opened(databases, through) as elsewhere:
            proxy.refuse()
            with pytest.raises(DatabaseUnavailableError):
                await poll(elsewhere)
            assert accepts(elsewhere, tokens)
            assert not accepts(elsewhere, ended)
            await door.identity.log_out(tokens.viewer)
            proxy.restore()
            await until(lambda: not accepts(elsewhere, tokens))
            assert not accepts(elsewhere, ended)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


async def test_a_process_starts_while_the_database_is_down(signing: Settings) -> None:
    nowhere = signing.model_copy(update={"users_database_url": "postgresql://postgres@127.0.0.1:1/none"})
    async with Databases.opened(nowhere) as databases, Identity.opened(databases, nowhere) as identity:
        with pytest.raises(DatabaseUnavailableError):
            await identity.log_in("ann@example.com", PASSWORD, HERE)


async def test_polling_survives_what_nobody_thought_of(
    door: Door, signing: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A database without the table, say: the error is logged, and the next poll comes."""
    tokens = await door.sign_up()
    quick = signing.model_copy(update={"revocation_poll": 0.02})
    async with Databases.opened(quick) as databases, Identity.opened(databases, quick) as elsewhere:
        await door.execute("ALTER TABLE refresh_tokens RENAME TO elsewhere")
        try:
            await until(lambda: bool(caplog.records))
        finally:
            await door.execute("ALTER TABLE elsewhere RENAME TO refresh_tokens")
        await door.identity.log_out(tokens.viewer)
        await until(lambda: not accepts(elsewhere, tokens))
    assert caplog.records[0].getMessage().startswith("the sessions that ended cannot be read")


async def test_the_poll_reads_an_index(door: Door) -> None:
    for number in range(20):
        await door.sign_up(f"user{number}@example.com", address=f"192.0.2.{number}")
    await door.execute("SET enable_seqscan = off")
    plan = "EXPLAIN SELECT family_id FROM refresh_tokens WHERE revoked_at > now() - make_interval(secs => 960)"
    lines = await door.make.connections["users"].fetch(plan)
    assert any("idx_refresh_tokens_revoked_at" in line[0] for line in lines)
