"""``storegraph schema export``, ``check`` and ``diff`` as a user meets them: what they print, and their exit codes."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import main
from app.settings import DATABASE_NAMES

COMMITTED = Path(__file__).parent.parent / "app" / "graph" / "schema.graphql"
SDL = COMMITTED.read_text(encoding="utf-8")
ACCOUNT = "query Account {\n  viewer {\n    id\n    email\n  }\n}\n"
NAMES = "query Names {\n  viewer { firstName lastName }\n}\n"
# A breaking change: User.email is gone. In the type alone, so that inputs keep their fields of that name.
WITHOUT_EMAIL = SDL.replace('  """The address to log in with."""\n  email: String!\n\n', "", 1)

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``storegraph schema``, without any database: its exit code, and what it says on the two outputs."""
    for name in DATABASE_NAMES:
        monkeypatch.delenv(f"{name.upper()}_DATABASE_URL", raising=False)

    def run(*arguments: str | Path, stdin: bytes = b"") -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["storegraph", "schema", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A copy of the schema with a breaking change in it."""
    assert SDL.count("  email: String!") == 3
    assert WITHOUT_EMAIL.count("  email: String!") == 2
    (tmp_path / "new.graphql").write_text(WITHOUT_EMAIL, encoding="utf-8")
    return tmp_path / "new.graphql"


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A client's folder with two operations."""
    (tmp_path / "src" / "account").mkdir(parents=True)
    (tmp_path / "src" / "account" / "account.graphql").write_text(ACCOUNT, encoding="utf-8")
    (tmp_path / "src" / "names.gql").write_text(NAMES, encoding="utf-8")
    (tmp_path / "src" / "notes.txt").write_text("query {", encoding="utf-8")
    for others in ("node_modules", ".cache"):
        (tmp_path / "src" / others / "package").mkdir(parents=True)
        (tmp_path / "src" / others / "package" / "wrong.graphql").write_text("query {", encoding="utf-8")
    return tmp_path / "src"


def test_export_prints_the_committed_schema_and_json_that_means_the_same(run: Run, tmp_path: Path) -> None:
    assert run("export") == (0, SDL, "")
    code, printed, _ = run("export", "--format", "json")
    assert code == 0
    assert run("export", "--format", "json")[1] == printed
    assert run("check", "-", stdin=printed.encode()) == (0, "standard input is the schema of this gateway\n", "")
    (tmp_path / "schema.json").write_text(json.dumps({"data": json.loads(printed)}), encoding="utf-8")
    assert run("check", tmp_path / "schema.json")[0] == 0


def test_check_tells_how_a_schema_differs(run: Run, planted: Path) -> None:
    assert run("check", COMMITTED) == (0, f"{COMMITTED} is the schema of this gateway\n", "")
    code, printed, _ = run("check", planted)
    assert code == 1
    assert f"--- {planted}\n+++ the schema of this gateway\n@@" in printed
    assert '\n+  """The address to log in with."""\n+  email: String!\n+\n' in printed
    assert [line for line in printed.splitlines() if line.startswith("-")] == [f"--- {planted}"]
    code, printed, _ = run("check", planted, "--json")
    found = json.loads(printed)
    assert (code, found["differs"]) == (1, True)
    assert "\n+  email: String!\n" in found["diff"]
    assert json.loads(run("check", COMMITTED, "--json")[1]) == {"differs": False, "diff": ""}


def test_a_planted_change_is_found_and_named_with_the_operation_that_it_breaks(
    run: Run, planted: Path, client: Path
) -> None:
    code, printed, _ = run("diff", "this", planted, "--operations", client)
    assert code == 1
    assert printed.startswith("breaking (1)\n  Field User.email was removed.  [FIELD_REMOVED]\n")
    assert "of 2 operations, and fragments in none of them: 1 to mend\n" in printed
    assert (
        "  account/account.graphql:4  query Account\n      refused: Cannot query field 'email' on type 'User'."
        in printed
    )
    assert "Names" not in printed
    code, printed, _ = run("diff", COMMITTED, planted, "--operations", client, "--json")
    found = json.loads(printed)
    assert code == 1
    assert found["counts"] == {"breaking": 1}
    assert found["changes"] == [
        {"severity": "breaking", "type": "FIELD_REMOVED", "description": "Field User.email was removed."}
    ]
    assert found["operations"] == 2
    [broken] = found["broken"]
    assert broken.pop("message").startswith("Cannot query field 'email' on type 'User'.")
    assert broken == {
        "file": "account/account.graphql",
        "line": 4,
        "operation": "query Account",
        "effect": "refused",
    }


def test_what_is_no_breaking_change_ends_with_0(run: Run, planted: Path, client: Path) -> None:
    """The other way round a field is added. The new schema is the gateway's own where none is named."""
    code, printed, _ = run("diff", planted, "--operations", client)
    assert (code, printed.splitlines()[:2]) == (0, ["safe (1)", "  Field User.email was added.  [FIELD_ADDED]"])
    code, printed, _ = run("diff", "-", stdin=SDL.encode("utf-8-sig"))
    assert (code, printed) == (0, "nothing has changed\n")
    assert json.loads(run("diff", "this", "this", "--json")[1]) == {"changes": [], "counts": {}}


def test_an_operation_that_was_refused_before_is_told_and_is_not_the_change_s_fault(run: Run, client: Path) -> None:
    (client / "wrong.graphql").write_text("{ nothing }", encoding="utf-8")
    code, printed, _ = run("diff", "this", "--operations", client)
    assert code == 0
    assert "of 3 operations, and fragments in none of them: 0 to mend\n" in printed
    assert "  wrong.graphql:1  query without a name\n      refused before: Cannot query field 'nothing'" in printed


def test_an_operation_can_break_though_each_change_is_safe(run: Run, client: Path, tmp_path: Path) -> None:
    merged = "{ node(id: 1) { ... on Product { text: description } ... on Category { text: description } } }"
    (client / "merged.graphql").write_text(merged, encoding="utf-8")
    (tmp_path / "new.graphql").write_text(
        SDL.replace("  description: String\n", "  description: String!\n", 1), "utf-8"
    )
    code, printed, _ = run("diff", "this", tmp_path / "new.graphql", "--operations", client)
    assert code == 1
    assert printed.startswith("safe (1)\n")
    assert "merged.graphql:1  query without a name\n      refused: Fields 'text' conflict" in printed


def test_what_cannot_be_read_is_one_line_and_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latin.graphql").write_bytes('"é"'.encode("latin-1"))
    (tmp_path / "bad.graphql").write_text("type Query {\n  a: \n}", encoding="utf-8")
    for name, said in (
        ("none.graphql", f"cannot read {tmp_path / 'none.graphql'}: No such file or directory"),
        ("", f"cannot read {tmp_path}: Is a directory"),
        ("latin.graphql", f"{tmp_path / 'latin.graphql'} is not UTF-8"),
        ("bad.graphql", f"{tmp_path / 'bad.graphql'}, line 3: Syntax Error: Expected Name, found '}}'."),
    ):
        assert run("check", tmp_path / name) == (2, "", f"storegraph: {said}\n")
        assert run("diff", tmp_path / name) == (2, "", f"storegraph: {said}\n")
    assert run("check", "-", stdin=b"\n") == (2, "", "storegraph: standard input is empty\n")
    assert run("diff", "-", "-")[::2] == (2, "storegraph: standard input can be one of the two schemas, not both\n")
    code, _, said = run("diff", "this", "--operations", tmp_path / "latin.graphql")
    assert code == 2
    (tmp_path / "empty").mkdir()
    code, _, said = run("diff", "this", "--operations", tmp_path / "empty")
    assert (code, said) == (2, f"storegraph: no file below {tmp_path / 'empty'} ends in .graphql or .gql\n")
