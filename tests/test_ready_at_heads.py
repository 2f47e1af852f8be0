"""Readiness that waits for migrations: READY_AT_HEADS."""

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from app.domains import revisions
from app.main import create_app
from app.operations.connect import connected
from app.operations.databases import create
from app.operations.migrations import downgrade, upgrade
from app.settings import DATABASE_NAMES, Settings

TODAY = datetime.now(UTC).date()
HEAD = revisions.history("payments")[-1].number
OK = dict.fromkeys(DATABASE_NAMES, "ok")


@pytest.fixture
def mine(settings: Settings, scratch_url: str) -> Settings:
    """Settings with a payments database of the test's own, which has no tables yet."""
    asyncio.run(create("payments", scratch_url))
    return settings.model_copy(update={"payments_database_url": scratch_url, "ready_at_heads": True})


@pytest.fixture
def client(mine: Settings) -> Generator[TestClient]:
    with TestClient(create_app(mine)) as client:
        yield client


def execute(url: str, sql: str) -> None:
    async def run() -> None:
        async with connected("payments", url) as connection:
            await connection.execute(sql)

    asyncio.run(run())


def test_it_is_ready_once_each_database_that_answers_is_at_its_head(client: TestClient, mine: Settings) -> None:
    url = mine.payments_database_url
    first = client.get("/readyz")
    assert first.status_code == 503
    assert first.json() == {"databases": OK, "behind": {"payments": {"revision": None, "head": HEAD}}}
    asyncio.run(upgrade("payments", url, TODAY))
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (200, {"databases": OK})
    asyncio.run(downgrade("payments", url, "0001"))
    behind = client.get("/readyz")
    assert (behind.status_code, behind.json()["behind"]) == (503, {"payments": {"revision": "0001", "head": HEAD}})


def test_one_that_a_newer_version_has_migrated_is_ready(client: TestClient, mine: Settings) -> None:
    """Or a migration would take the version that still runs out of service, before the next one is there."""
    asyncio.run(upgrade("payments", mine.payments_database_url, TODAY))
    execute(mine.payments_database_url, "UPDATE alembic_version SET version_num = '0999'")
    assert client.get("/readyz").status_code == 200


def test_one_that_may_not_be_asked_is_not_ready(mine: Settings) -> None:
    url = mine.payments_database_url
    asyncio.run(upgrade("payments", url, TODAY))
    execute(url, "CREATE ROLE reader LOGIN")
    try:
        reading = mine.model_copy(update={"payments_database_url": url.replace("postgres@", "reader@")})
        with TestClient(create_app(reading)) as client:
            answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["behind"]) == (503, {"payments": {"revision": None, "head": HEAD}})
    finally:
        execute(url, "DROP ROLE reader")


def test_one_that_does_not_answer_is_not_waited_for(mine: Settings) -> None:
    lost = mine.model_copy(update={"payments_database_url": "postgresql://nobody@127.0.0.1:1/nothing"})
    with TestClient(create_app(lost)) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"databases": OK | {"payments": "unavailable"}})


def test_by_default_it_is_ready_without_tables(mine: Settings) -> None:
    with TestClient(create_app(mine.model_copy(update={"ready_at_heads": False}))) as client:
        assert client.get("/readyz").status_code == 200
