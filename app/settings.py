"""The process's settings: read once from the environment, frozen, and handed down; never a global.

This is the only module that reads the environment. Each variable ``X`` can also be given as ``X_FILE``, the path of a
file that holds the value (how Docker and Kubernetes hand over secrets).
"""

import os
from collections.abc import Mapping
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

DatabaseName = Literal["users", "products", "orders", "payments"]
DATABASE_NAMES: tuple[DatabaseName, ...] = ("users", "products", "orders", "payments")


class SettingsError(Exception):
    """One or more settings are missing or wrong. ``str()`` has one line for each."""


# Those that asyncpg would find wrong only when it connects; others are the server's to judge.
_URL_PARAMETERS = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "target_session_attrs": {"any", "primary", "standby", "read-write", "read-only", "prefer-standby"},
}


def _postgres_url(url: str) -> str:
    """Refuse what asyncpg would misread. The value itself is never repeated: it holds a password."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("is not a URL; expected postgresql://user:password@host:port/database") from None
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError("must start with postgresql://, as in postgresql://user:password@host:port/database")
    if not port_is_valid or not parts.path.strip("/"):
        raise ValueError("names no database; expected postgresql://user:password@host:port/database")
    for name, value in parse_qsl(parts.query):
        if value not in _URL_PARAMETERS.get(name, {value}):
            raise ValueError(f"{name} must be one of {', '.join(sorted(_URL_PARAMETERS[name]))}")
    return url


PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Lifetime = Annotated[int, Field(ge=1, le=10 * 365 * 86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


PostgresUrls = Annotated[tuple[PostgresUrl, ...], NoDecode, BeforeValidator(_words)]
"""Several in one variable, with commas or blanks between them; in a URL itself, ``%2C`` is a comma."""


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_all = bool(parts.scheme and parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False
    return has_all and text == f"{parts.scheme}://{parts.netloc}".lower()


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no browser sends as Origin (RFC 6454, section 6.2), and so would never match."""
    for origin in origins:
        if origin != "*" and not _is_origin(origin):
            raise ValueError(
                f"{origin!r} is no origin; expected https://shop.example.com, in lower case, with no / after"
            )
    return origins


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words), AfterValidator(_origins)]
"""Several in one variable, with commas or blanks between them."""


def _proxies(proxies: str) -> str:
    """Refuse what uvicorn would take for a name that nobody has."""
    for proxy in proxies.split(",") if proxies.strip() not in ("", "*") else ():
        try:
            ip_network(proxy.strip())
        except ValueError:
            message = "is neither an address, nor a network as in 10.0.0.0/8, nor * alone"
            raise ValueError(f"{proxy.strip()!r} {message}") from None
    return proxies.strip()


Proxies = Annotated[str, AfterValidator(_proxies)]


def _collector_url(url: str) -> str | None:
    """Empty is unset, as OpenTelemetry has it."""
    if url and not (url.startswith(("http://", "https://")) and urlsplit(url).hostname):
        raise ValueError("must be an address as in http://127.0.0.1:4318, of a collector that takes OTLP over HTTP")
    return url or None


CollectorUrl = Annotated[str, AfterValidator(_collector_url)] | None


def _named(path: object) -> object:
    if path == "":
        raise ValueError("is empty; name a file, or leave it out")
    return path


FilePath = Annotated[Path, BeforeValidator(_named)]

SHORTEST_SECRET = 32  # bytes, as many as HMAC-SHA-256 has (RFC 7518, section 3.2)


def _jwt_secret(secret: SecretStr) -> SecretStr:
    """Refuse what can be guessed. The value itself is never repeated."""
    text = secret.get_secret_value()
    if len(text.encode()) < SHORTEST_SECRET:
        raise ValueError(f"must have at least {SHORTEST_SECRET} bytes; make one with: openssl rand -base64 48")
    steps = sum(ord(after) - ord(before) == 1 for before, after in pairwise(text))  # as in 0123456789
    if (
        len(set(text)) < 10
        or steps > len(text) / 2
        or any(word in text.lower() for word in ("secret", "changeme", "change-me", "change_me"))
    ):
        raise ValueError("is one that others would try; make one with: openssl rand -base64 48")
    return secret


JwtSecret = Annotated[SecretStr, AfterValidator(_jwt_secret)]


class _FileSource(PydanticBaseSettingsSource):
    """``X_FILE``: the value of ``X`` is what that file holds, without white space around it."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # the base class's signature
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if path is None:
            return None, field_name, False
        if not path:
            raise SettingsError(f"{field_name.upper()}_FILE: is empty; name a file, or leave it out")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise SettingsError(f"{field_name.upper()}_FILE: cannot read {path}: {reason}") from None

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(info, name)[0] for name, info in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


_Place = tuple[str | None, int | None, str]


def _place(url: str) -> _Place:
    """What two URLs of the same database on the same server have in common."""
    parts = urlsplit(url)
    return parts.hostname, parts.port, parts.path


class Settings(BaseSettings):
    """Everything that can be set, with its default. README has the same list as a table."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    users_database_url: PostgresUrl
    products_database_url: PostgresUrl
    orders_database_url: PostgresUrl
    payments_database_url: PostgresUrl
    users_replica_url: PostgresUrls = ()
    products_replica_url: PostgresUrls = ()
    orders_replica_url: PostgresUrls = ()
    payments_replica_url: PostgresUrls = ()

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    graphiql: bool = True
    graphiql_dir: FilePath | None = None
    explain: Literal["off", "numbers", "on"] = "off"
    introspection: bool = True
    largest_total: Count = 10_000
    ready_at_heads: bool = False
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    metrics_host: str = "127.0.0.1"
    otel_exporter_otlp_endpoint: CollectorUrl = None

    # HTTP
    cors_origins: Origins = ()
    trusted_proxies: Proxies = "127.0.0.1"
    max_body: Count = 256_000
    body_timeout: Seconds = 10.0
    max_in_flight: Count = 200
    drain_grace: Annotated[float, Field(ge=0, le=3600)] = 1.5
    drain_timeout: Seconds = 10.0

    # Documents
    max_tokens: Count = 2000
    max_depth: Count = 12
    max_introspection_depth: Count = 16
    max_fields: Count = 500
    max_aliases: Count = 30
    max_directives: Count = 50
    max_operations: Count = 10
    max_fragments: Count = 50
    max_variables: Count = 50
    max_root_mutations: Count = 5
    max_list: Count = 100
    max_cost: Count = 50_000
    validation_budget: Count = 20_000
    trusted_documents: Literal["off", "log", "enforce"] = "off"
    trusted_documents_manifest: FilePath | None = None

    # Identity
    jwt_secret: JwtSecret | None = None
    access_token_lifetime: Lifetime = 900
    refresh_token_lifetime: Lifetime = 30 * 86_400
    revocation_poll: Seconds = 20.0
    login_window: Seconds = 900.0
    max_failures_per_account: Count = 5
    max_failures_per_address: Count = 30
    password_hashers: Annotated[int, Field(ge=1, le=64)] = 2
    password_queue: Annotated[int, Field(ge=0, le=10_000)] = 16

    # Databases, each
    pool_size: int = Field(default=10, ge=1, le=1000)
    pool_wait: Seconds = 1.0
    operation_connections: Annotated[int, Field(ge=1, le=1000)] = 4
    connect_timeout: Seconds = 2.0
    statement_timeout: Seconds = 3.0
    read_timeout: Seconds = 1.5
    write_timeout: Seconds = 5.0
    lock_timeout: Seconds = 1.0
    idle_in_transaction_timeout: Seconds = 5.0
    breaker_failures: Count = 5
    breaker_pause: Seconds = 1.0
    transaction_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    replica_max_lag: Seconds = 5.0

    @model_validator(mode="after")
    def _four_different_databases(self) -> Self:
        seen: dict[_Place, DatabaseName] = {}
        for name in DATABASE_NAMES:
            other = seen.setdefault(_place(self.database_url(name)), name)
            if other != name:
                variables = f"{name}_database_url and {other}_database_url".upper().replace(" AND ", " and ")
                raise ValueError(f"{variables} name the same database; each needs one of its own")
        return self

    @model_validator(mode="after")
    def _replicas_elsewhere(self) -> Self:
        seen = {_place(self.database_url(name)): f"{name}_database_url".upper() for name in DATABASE_NAMES}
        for name in DATABASE_NAMES:
            variable = f"{name}_replica_url".upper()
            for url in self.replica_urls(name):
                if (other := seen.get(_place(url))) is not None:
                    raise ValueError(
                        f"{variable} names what {other} names already; each replica is a server of its own"
                    )
                seen[_place(url)] = variable
        return self

    @model_validator(mode="after")
    def _different_ports(self) -> Self:
        """A worker has its metrics at the port after the one of the worker before."""
        if self.metrics_port is None:
            return self
        if self.metrics_port == self.port:
            raise ValueError("METRICS_PORT and PORT are the same; metrics need a port of their own")
        last = self.metrics_port + self.workers - 1
        if last > 65535 or self.metrics_port < self.port <= last:
            raise ValueError(
                f"METRICS_PORT: {self.workers} workers need the ports {self.metrics_port} to {last} for their metrics;"
                " choose one so that all of them are free, at most 65535, and none is PORT"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FileSource(settings_cls)

    def database_url(self, name: DatabaseName) -> str:
        """The URL of one database."""
        return {
            "users": self.users_database_url,
            "products": self.products_database_url,
            "orders": self.orders_database_url,
            "payments": self.payments_database_url,
        }[name]

    def replica_urls(self, name: DatabaseName) -> tuple[str, ...]:
        """The URLs of one database's standbys."""
        return {
            "users": self.users_replica_url,
            "products": self.products_replica_url,
            "orders": self.orders_replica_url,
            "payments": self.payments_replica_url,
        }[name]


class LocalSettings(BaseSettings):
    """Of the PostgreSQL server that the demo and the tests start themselves: STOREGRAPH_POSTGRES, STOREGRAPH_DATA."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="STOREGRAPH_")

    postgres: Literal["embedded", "path"] = "embedded"
    data: Path | None = None


def load_local_settings() -> LocalSettings:
    """Read the environment.

    Raises:
        SettingsError: one line for each setting that is wrong, naming it.
    """
    try:
        return LocalSettings()
    except ValidationError as error:
        raise SettingsError("\n".join(_line(dict(item), "STOREGRAPH_") for item in error.errors())) from None


def load_settings(**overrides: object) -> Settings:
    """Read the environment; ``overrides`` win over it.

    Raises:
        SettingsError: one line for each setting that is missing or wrong, naming it.
    """
    try:
        return Settings(**overrides)  # pyright: ignore[reportArgumentType] -- pydantic checks the values
    except ValidationError as error:
        lines = [_line(dict(item)) for item in error.errors()]
        if any(item["type"] == "missing" for item in error.errors()):
            lines.append("to try storegraph without any database, run: storegraph demo")
        raise SettingsError("\n".join(lines)) from None


def _line(item: Mapping[str, Any], prefix: str = "") -> str:
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:  # of several settings together, which the message names
        return message
    name = prefix + str(item["loc"][0]).upper()
    if item["type"] == "missing":
        return f"{name} is not set (nor {name}_FILE)"
    if item["type"] == "bool_parsing":
        message = "must be true or false"
    if name not in os.environ and f"{name}_FILE" in os.environ:
        name += "_FILE"
    return f"{name}: {message}"
