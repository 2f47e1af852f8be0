"""``storegraph token``: an access token alone on standard output, or one line that says why there is none."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from app.database import Databases
from app.errors import UnauthenticatedError
from app.identity.access_tokens import AccessTokens
from app.identity.sessions import Identity
from app.operations.databases import create
from app.settings import DATABASE_NAMES, Settings
from app.viewer import Viewer
from tests.http_server import COMMAND
from tests.operations.rows import rows, storegraph

SECRET = "an-example-of-32-bytes-or-more-0123456789"

PROMOTE = "then UPDATE users SET role = 'support' WHERE email = '...'"

pytestmark = pytest.mark.usefixtures("clean")

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def token(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``storegraph token``; its exit code and what it says on standard output and standard error."""
    monkeypatch.setenv("JWT_SECRET", SECRET)

    def run(*arguments: str, settings: Settings = settings) -> tuple[object, str, str]:
        code = storegraph(settings, monkeypatch, "token", *arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def people(settings: Settings) -> dict[str, str]:
    """Users by address, with their ids."""
    for email, role, status, year, deleted_at in (
        ("gone@example.com", "admin", "active", 2001, datetime(2020, 1, 1, tzinfo=UTC)),
        ("suspended@example.com", "admin", "suspended", 2002, None),
        ("second@example.com", "admin", "active", 2004, None),
        ("First@Example.com", "admin", "active", 2003, None),
        ("customer@example.com", "customer", "active", 2001, None),
    ):
        insert = "INSERT INTO users (email, password_hash, role, status, created_at, deleted_at) VALUES "
        values = email, role, status, datetime(year, 1, 1, tzinfo=UTC), deleted_at
        rows(settings, "users", f"{insert} ($1, '!', $2, $3, $4, $5)", *values)
    return {email: str(id_) for email, id_ in rows(settings, "users", "SELECT email, id FROM users")}


def read(printed: str) -> Viewer:
    assert printed.count("\n") == 1
    return AccessTokens(SECRET, 900).read(printed.removesuffix("\n"))


@pytest.mark.parametrize(("role", "email"), [("admin", "First@Example.com"), ("customer", "customer@example.com")])
def test_by_role_it_is_of_the_oldest_active_user(token: Run, people: dict[str, str], role: str, email: str) -> None:
    code, printed, errors = token("--role", role)
    assert (code, errors) == (0, "")
    viewer = read(printed)
    assert (viewer.user, viewer.role) == (people[email], role)


@pytest.mark.parametrize("email", ["second@example.com", "SECOND@example.com"])
def test_by_address_it_is_of_that_user(token: Run, people: dict[str, str], email: str) -> None:
    _, printed, _ = token("--email", email)
    assert read(printed).user == people["second@example.com"]


def test_it_is_of_a_session_that_can_be_ended(settings: Settings, token: Run, people: dict[str, str]) -> None:
    header = f"Bearer {token('--role', 'admin')[1].strip()}"
    signing = settings.model_copy(update={"jwt_secret": SecretStr(SECRET)})

    async def accepted() -> bool:
        async with Databases.opened(signing) as databases, Identity.opened(databases, signing) as identity:
            try:
                return identity.viewer_of(header).user == people["First@Example.com"]
            except UnauthenticatedError:
                return False

    assert asyncio.run(accepted())
    rows(settings, "users", "UPDATE users SET status = 'suspended' WHERE email = 'First@Example.com'")
    assert not asyncio.run(accepted())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say for whom: --email ADDRESS, or --role for the oldest active user who has it"),
        (["--role", "admin", "--email", "second@example.com"], "say --email or --role, not both"),
        (["--role", "support"], "no active user has the role support: sign up, " + PROMOTE),
        (["--email", "nobody@example.com"], "no user has the e-mail address 'nobody@example.com'"),
        (["--email", "gone@example.com"], "no user has the e-mail address 'gone@example.com'"),
        (["--email", "suspended@example.com"], "the user suspended@example.com is not active"),
    ],
)
def test_what_cannot_be_done_is_one_line(token: Run, people: dict[str, str], arguments: list[str], says: str) -> None:
    assert token(*arguments) == (2, "", f"storegraph: {says}\n")


def test_a_role_that_does_not_exist(token: Run) -> None:
    code, printed, errors = token("--role", "root")
    assert (code, printed) == (2, "")
    assert "'root' is not one of" in errors


def test_without_a_secret_it_names_the_setting(token: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET")
    code, printed, errors = token("--role", "admin")
    assert (code, printed) == (2, "")
    assert errors.startswith("storegraph: JWT_SECRET is not set (nor JWT_SECRET_FILE)")


def test_a_database_that_is_not_upgraded_or_not_there(settings: Settings, token: Run, scratch_url: str) -> None:
    scratch = settings.model_copy(update={"users_database_url": scratch_url})
    absent = "storegraph: the users database does not exist; make it with `storegraph db create`\n"
    assert token("--role", "admin", settings=scratch) == (2, "", absent)
    asyncio.run(create("users", scratch_url))
    says = "storegraph: the users database has no sessions yet; run `storegraph db upgrade` first\n"
    assert token("--role", "admin", settings=scratch) == (2, "", says)


def test_a_server_that_is_not_there_is_one_line_and_nothing_is_logged() -> None:
    urls = {f"{name.upper()}_DATABASE_URL": f"postgresql://127.0.0.1:1/{name}" for name in DATABASE_NAMES}
    told = subprocess.run(
        [COMMAND, "token", "--role", "admin"],
        env=os.environ | urls | {"JWT_SECRET": SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("storegraph: cannot connect to the users database: ")
    assert told.stderr.count("\n") == 1
