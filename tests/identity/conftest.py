"""Identity over the tests' own users database."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from pydantic import SecretStr

from app.database import Databases
from app.errors import UnauthenticatedError
from app.identity import passwords
from app.identity.sessions import Identity, Tokens
from app.settings import Settings
from tests.factories import Make, Row

SECRET = "an-example-of-32-bytes-or-more-0123456789"
PASSWORD = "correct horse battery staple"
HERE = "192.0.2.1"


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in a thread or in a background task, neither of which tells anybody."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> PasswordHasher:
    """Passwords are hashed as real ones are, but in a millisecond and not in a tenth of a second on each core."""
    cheap = PasswordHasher.from_parameters(CHEAPEST)
    monkeypatch.setattr(passwords, "_HASHER", cheap)
    passwords._nobodys.cache_clear()  # pyright: ignore[reportPrivateUsage]
    return cheap


@pytest.fixture
def signing(settings: Settings) -> Settings:
    """Settings with which signing in is on, and many at once may wait for it."""
    return settings.model_copy(update={"jwt_secret": SecretStr(SECRET), "password_queue": 400})


@dataclass
class Door:
    """Identity as one process has it, and what its tests do again and again."""

    identity: Identity
    databases: Databases
    make: Make

    async def sign_up(self, email: str = "ann@example.com", password: str = PASSWORD, address: str = HERE) -> Tokens:
        return await self.identity.sign_up(email, password, "Ann", None, address)

    async def log_in(self, email: str = "ann@example.com", password: str = PASSWORD, address: str = HERE) -> Tokens:
        return await self.identity.log_in(email, password, address)

    async def rows(self, sql: str, *args: object) -> list[Row]:
        return [dict(row) for row in await self.databases["users"].fetch(sql, *args)]

    async def value(self, sql: str, *args: object) -> Any:
        [row] = await self.rows(sql, *args)
        [value] = row.values()
        return value

    async def execute(self, sql: str, *args: object) -> None:
        await self.make.execute("users", sql, *args)

    async def goes_on(self, tokens: Tokens) -> bool:
        """Whether the refresh token is good, which is used for that."""
        try:
            await self.identity.refresh(tokens.refresh_token)
        except UnauthenticatedError:
            return False
        return True


@pytest.fixture
async def door(signing: Settings, make: Make) -> AsyncGenerator[Door]:
    async with Databases.opened(signing) as databases:
        identity = Identity(databases, signing)
        yield Door(identity, databases, make)
        identity.close()
