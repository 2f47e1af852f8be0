"""Settings: read from the environment or from files, and each wrong one named in a line."""

from pathlib import Path

import pytest

from app.settings import DATABASE_NAMES, LocalSettings, Settings, SettingsError, load_local_settings, load_settings

README = Path(__file__).parent.parent / "README.md"
URLS = {f"{name.upper()}_DATABASE_URL": f"postgresql://me:secret@db.example/{name}" for name in DATABASE_NAMES}


NO_PROXY = "is neither an address, nor a network as in 10.0.0.0/8, nor * alone"
PROXIES = ("", "*", "proxy.example", "10.0.0.1/8", "10.0.0.1 10.0.0.2", "10.0.0")
NO_ORIGIN = "is no origin; expected https://shop.example.com, in lower case, with no / after"
ORIGINS = (
    "shop.example",
    "https://shop.example/",
    "https://shop.example/path",
    "https://Shop.example",
    "https://me@shop.example",
    "https://shop.example:x",
    "https://shop.example?a",
    "https://",
    "null",
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment with the four URLs, and nothing else of ours."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    for name, value in URLS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "9000")
    environment.setenv("ORDERS_DATABASE_URL", "postgres://me@db.example:6432/o?sslmode=require")
    settings = load_settings()
    assert settings.port == 9000
    assert settings.database_url("orders") == "postgres://me@db.example:6432/o?sslmode=require"
    assert load_settings(port=9001).port == 9001


def test_from_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"{URLS['USERS_DATABASE_URL']}\n")
    environment.delenv("USERS_DATABASE_URL")
    environment.setenv("USERS_DATABASE_URL_FILE", str(file))
    assert load_settings().users_database_url == URLS["USERS_DATABASE_URL"]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PORT", "70000", "PORT: Input should be less than or equal to 65535"),
        ("PORT", "http", "PORT: Input should be a valid integer, unable to parse string as an integer"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error'"),
        ("READ_TIMEOUT", "0", "READ_TIMEOUT: Input should be greater than 0"),
        ("GRAPHIQL", "perhaps", "GRAPHIQL: must be true or false"),
        (
            "USERS_DATABASE_URL",
            "mysql://me:secret@db.example/users",
            "USERS_DATABASE_URL: must start with postgresql://, as in postgresql://user:password@host:port/database",
        ),
        (
            "USERS_DATABASE_URL",
            "postgresql://me:secret@db.example",
            "USERS_DATABASE_URL: names no database; expected postgresql://user:password@host:port/database",
        ),
        (
            "USERS_DATABASE_URL",
            "postgresql://me:secret@db.example:x/users",
            "USERS_DATABASE_URL: is not a URL; expected postgresql://user:password@host:port/database",
        ),
        (
            "USERS_DATABASE_URL",
            "postgres://you@db.example/users?sslmode=on",
            "USERS_DATABASE_URL: sslmode must be one of allow, disable, prefer, require, verify-ca, verify-full",
        ),
        (
            "USERS_DATABASE_URL",
            "postgres://you@db.example/orders",
            "ORDERS_DATABASE_URL and USERS_DATABASE_URL name the same database; each needs one of its own",
        ),
        (
            "USERS_DATABASE_URL_FILE",
            "/no/such/file",
            "USERS_DATABASE_URL_FILE: cannot read /no/such/file: No such file or directory",
        ),
        ("USERS_DATABASE_URL_FILE", "", "USERS_DATABASE_URL_FILE: is empty; name a file, or leave it out"),
        (
            "ORDERS_REPLICA_URL",
            "postgres://me@b.example/orders, b.example",
            "ORDERS_REPLICA_URL: must start with postgresql://, as in postgresql://user:password@host:port/database",
        ),
        (
            "ORDERS_REPLICA_URL",
            URLS["ORDERS_DATABASE_URL"],
            "ORDERS_REPLICA_URL names what ORDERS_DATABASE_URL names already; each replica is a server of its own",
        ),
        (
            "ORDERS_REPLICA_URL",
            "postgres://me@b.example/orders, postgres://you@b.example/orders",
            "ORDERS_REPLICA_URL names what ORDERS_REPLICA_URL names already; each replica is a server of its own",
        ),
        ("REPLICA_MAX_LAG", "0", "REPLICA_MAX_LAG: Input should be greater than 0"),
        ("JWT_SECRET_FILE", "", "JWT_SECRET_FILE: is empty; name a file, or leave it out"),
        ("TRUSTED_DOCUMENTS_MANIFEST", "", "TRUSTED_DOCUMENTS_MANIFEST: is empty; name a file, or leave it out"),
        *((("TRUSTED_PROXIES", f"127.0.0.1, {wrong}", f"TRUSTED_PROXIES: '{wrong}' {NO_PROXY}")) for wrong in PROXIES),
        *((("CORS_ORIGINS", f"http://a, {wrong}", f"CORS_ORIGINS: '{wrong}' {NO_ORIGIN}")) for wrong in ORIGINS),
    ],
)
def test_a_wrong_one_is_named_in_a_line(environment: pytest.MonkeyPatch, name: str, value: str, line: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert str(error.value) == line


def test_a_wrong_one_of_a_file_is_named_by_the_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("short\n")
    environment.setenv("JWT_SECRET_FILE", str(file))
    with pytest.raises(SettingsError, match=r"^JWT_SECRET_FILE: must have at least 32 bytes"):
        load_settings()


def test_replicas_are_none_or_several(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings().replica_urls("orders") == ()
    one, two = "postgresql://me:a%2Cb@b.example/orders", "postgres://me@c.example/orders?sslmode=require"
    environment.setenv("ORDERS_REPLICA_URL", f"{one},{two}")
    assert load_settings().replica_urls("orders") == (one, two)
    assert load_settings().replica_urls("users") == ()
    environment.delenv("ORDERS_REPLICA_URL")
    file = tmp_path / "urls"
    file.write_text(f"{one}\n{two}\n")
    environment.setenv("ORDERS_REPLICA_URL_FILE", str(file))
    assert load_settings().replica_urls("orders") == (one, two)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTED_PROXIES", ""),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1, fd00::/8,192.0.2.1"),
        ("CORS_ORIGINS", ""),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://shop.example, http://localhost:3000 http://[::1]:3000"),
        ("GRAPHIQL", "false"),
    ],
)
def test_a_right_one_is_taken(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    load_settings()


def test_each_missing_one_is_named(environment: pytest.MonkeyPatch) -> None:
    for name in URLS:
        environment.delenv(name)
    environment.setenv("PORT", "x")
    with pytest.raises(SettingsError) as error:
        load_settings()
    lines = str(error.value).splitlines()
    assert [line.split()[0].rstrip(":") for line in lines[:-1]] == [*URLS, "PORT"]
    assert lines[-1] == "to try storegraph without any database, run: storegraph demo"


def test_of_the_local_server(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("STOREGRAPH_POSTGRES", "mysql")
    with pytest.raises(SettingsError) as error:
        load_local_settings()
    assert str(error.value) == "STOREGRAPH_POSTGRES: Input should be 'embedded' or 'path'"


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = [line.split("|") for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    listed = {row[1].strip(" `"): row[2].strip(" `") for row in rows}
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() or field.default in (None, ()) else str(field.default).lower()
        assert listed[name.upper()] == default
    assert {f"STOREGRAPH_{name.upper()}" for name in LocalSettings.model_fields} <= listed.keys()
