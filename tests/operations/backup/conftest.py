"""A shop for each module of tests that take databases away: its databases are named with the module's ``PREFIX``."""

from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from app.operations.server import LocalServer
from app.settings import Settings
from tests.operations.backup.shops import set_of_all, shop_of_its_own


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, server: LocalServer, settings: Settings) -> Generator[Settings]:
    prefix = cast(ModuleType, request.module).PREFIX  # pyright: ignore[reportUnknownMemberType]: pytest leaves it untyped
    with shop_of_its_own(server, settings, prefix) as shop:
        yield shop


@pytest.fixture(scope="module")
def whole(shop: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of all four, which no test changes."""
    return set_of_all(shop, tmp_path_factory.mktemp("sets"))
