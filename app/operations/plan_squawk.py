"""What squawk, a linter of migrations, says of a migration, where it is installed (``pip install squawk-cli``)."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import OperationError
from app.operations.migrations_run import Statement
from app.operations.plan_locks import Danger

MISSING = "squawk is not installed, so its findings are missing here: pip install squawk-cli"

# Matters of taste, and limits that ``db upgrade`` sets for every migration.
_LEFT_OUT = (
    "prefer-bigint-",
    "prefer-identity",
    "prefer-repack",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "ban-char-field",
    "require-timeout-settings",
    "require-lock-timeout",
    "require-statement-timeout",
)

SAME: dict[str, tuple[str, ...]] = {
    "require-concurrent-index-creation": ("create-index",),
    "adding-not-nullable-field": ("set-not-null",),
    "adding-field-with-default": ("add-column",),
    "adding-required-field": ("add-column",),
    "adding-serial-primary-key-field": ("add-column",),
    "adding-foreign-key-constraint": ("add-foreign-key",),
    "constraint-missing-not-valid": ("add-foreign-key", "add-check"),
    "disallowed-unique-constraint": ("add-unique",),
    "changing-column-type": ("alter-type",),
    "ban-drop-column": ("drop-column",),
    "ban-drop-table": ("drop-table",),
    "renaming-column": ("rename",),
    "renaming-table": ("rename",),
}
"""Squawk's names of what has one of ours: who accepts a danger by our rule accepts squawk's with it."""


def find() -> str | None:
    """The path of squawk: beside this Python, or on PATH; None where it is at neither place."""
    return shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")


def findings(program: str, statements: Sequence[Statement], version: int) -> list[list[Danger]]:
    """What squawk says of each statement of a migration: its rules, each with a message.

    Args:
        program: where it is.
        statements: those of the migration.
        version: the server's major version.

    Raises:
        OperationError: it failed.
    """
    text, lines = "", list[int]()
    outside = True
    for statement in statements:
        if statement.outside != outside:
            text += "BEGIN;\n" if outside else "COMMIT;\n"
            outside = statement.outside
        lines.append(text.count("\n"))
        text += f"{statement.sql};\n"
    text += "" if outside else "COMMIT;\n"
    arguments = [program, "--reporter", "json", "--pg-version", f"{version}.0", "--stdin-filepath", "migration.sql"]
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise OperationError(f"squawk failed with exit code {done.returncode}: {done.stderr.strip()}") from None
    of_each: list[list[Danger]] = [[] for _ in statements]
    for finding in found:
        place = max((number for number, line in enumerate(lines) if line <= finding["line"]), default=0)
        danger = Danger(finding["rule_name"], " ".join(filter(None, (finding["message"], finding["help"]))))
        if not danger.rule.startswith(_LEFT_OUT) and danger not in of_each[place]:
            of_each[place].append(danger)
    return of_each
