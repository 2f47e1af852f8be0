"""The files in deploy/ agree with the program: the settings that they name, the commands, and the time they give it.

They are read as text: what is looked for stands on lines of its own, and a parser of YAML would be here for this alone.
"""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.settings import Settings
from app.workers import OVERTIME

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE, DOCKERFILE = DEPLOY / "compose.yaml", DEPLOY / "Dockerfile"
GATEWAY, MIGRATE = DEPLOY / "kubernetes" / "gateway.yaml", DEPLOY / "kubernetes" / "migrate.yaml"
SECRET = DEPLOY / "kubernetes" / "secret.example.yaml"

NAMED = re.compile(
    r"^ +(?:- \{name: (?P<item>[A-Z_]+), value: (?P<of_item>.*)\}|(?P<key>[A-Z_]+): (?P<of_key>.*?))(?: #.*)?$",
    re.MULTILINE,
)
"""A variable and its value, as compose.yaml and Kubernetes have it."""
NOT_OURS = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS"}


def variables(path: Path) -> dict[str, str]:
    """The environment that a file gives to the gateway or the migrations."""
    matches = [match.groupdict("") for match in NAMED.finditer(path.read_text(encoding="utf-8"))]
    found = {of["item"] or of["key"]: (of["of_item"] or of["of_key"]).strip('"') for of in matches}
    return {name: value for name, value in found.items() if name not in NOT_OURS}


@pytest.mark.parametrize("path", [COMPOSE, GATEWAY, MIGRATE, SECRET], ids=lambda path: path.name)
def test_every_variable_is_a_setting_and_all_databases_are_named(path: Path) -> None:
    names = {name.removesuffix("_FILE").lower() for name in variables(path)}
    assert names <= Settings.model_fields.keys()
    assert {name for name in Settings.model_fields if name.endswith("_database_url")} <= names


@pytest.mark.parametrize("path", [COMPOSE, GATEWAY], ids=lambda path: path.name)
def test_what_the_gateway_is_given_is_accepted(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables(path).items():
        if not name.endswith("_FILE"):
            monkeypatch.setenv(name, re.sub(r"\$\{[A-Z_]+:-(.*?)\}", r"\1", value).replace("${POSTGRES_PASSWORD}", "x"))
    (tmp_path / "secret").write_text("rZ3k8Jq1sT0vYb5nXe7uWc9aLd2fGh4iKo6pMj8lNq0=\n")
    monkeypatch.setenv("JWT_SECRET_FILE", str(tmp_path / "secret"))
    for name, value in variables(SECRET).items():
        if f"{name}_FILE" in variables(path) and name != "JWT_SECRET":
            monkeypatch.setenv(name, value)
    settings = Settings()  # pyright: ignore[reportCallIssue] -- from the environment
    assert settings.jwt_secret is not None
    assert settings.ready_at_heads
    assert len({settings.users_database_url, settings.orders_database_url}) == 2


def stop_seconds(path: Path) -> int:
    """How long a file lets the gateway take to end."""
    text = path.read_text(encoding="utf-8")
    [seconds] = re.findall(r"(?m)^ +(?:stop_grace_period: (\d+)s #|terminationGracePeriodSeconds: (\d+))", text)
    return int(seconds[0] or seconds[1])


@pytest.mark.parametrize("path", [COMPOSE, GATEWAY], ids=lambda path: path.name)
def test_there_is_time_to_end_in_order(path: Path) -> None:
    """SIGKILL must not come before the workers' own end, which is that of the parent."""
    defaults = {name: float(Settings.model_fields[name.lower()].default) for name in ("DRAIN_GRACE", "DRAIN_TIMEOUT")}
    grace, timeout = (float(variables(path).get(name, default)) for name, default in defaults.items())
    assert stop_seconds(path) > grace + timeout + OVERTIME


COMMANDS = [
    *re.findall(r"storegraph ([a-z][a-z -]*?)(?: &&|\"|`)", COMPOSE.read_text(encoding="utf-8")),
    *(
        " ".join(args.split(", "))
        for path in (GATEWAY, MIGRATE)
        for args in re.findall(r"args: \[(.*)\]", path.read_text(encoding="utf-8"))
    ),
    *re.findall(r'CMD \["([a-z]+)"\]', DOCKERFILE.read_text(encoding="utf-8")),
]


def test_the_commands_are_found() -> None:
    assert sorted(COMMANDS) == ["db create", "db upgrade", "db upgrade", "serve", "serve"]


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_there_are_the_commands(command: str) -> None:
    assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize("route", re.findall(r"path: (/\w+)", GATEWAY.read_text(encoding="utf-8")))
def test_probes_ask_what_there_is(route: str) -> None:
    assert f'Route("{route}"' in (ROOT / "app" / "main.py").read_text(encoding="utf-8")


def test_the_image_has_what_it_copies_and_runs_as_somebody_else() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    copied = {name for names in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text) for name in names.split()}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    [user] = re.findall(r"(?m)^USER (\d+):", text)
    for path in (GATEWAY, MIGRATE):
        assert f"runAsUser: {user}\n" in path.read_text(encoding="utf-8")
    assert "--require-hashes -r requirements.lock" in text
    assert f"EXPOSE {variables(GATEWAY)['PORT']}\n" in text
