"""``storegraph``: the command line, thin. Each command reads its arguments, calls one operation and prints the result.

Tables and ``--json`` go to standard output, progress and errors to standard error. Exit codes: 0 done; 1 done, and
something was found wrong (``db check``, ``db audit``, ``partitions check``); 2 not done.
"""

import logging
import sys

import typer

from app.cli.audit import audit
from app.cli.backup import backup
from app.cli.db import db
from app.cli.explain import explain
from app.cli.gateway import gateway
from app.cli.graphiql import graphiql
from app.cli.monitor_watch import monitor
from app.cli.partitions import partitions
from app.cli.schema import schema
from app.errors import AppError
from app.settings import SettingsError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Four databases, one GraphQL gateway.")
app.add_typer(gateway)
app.add_typer(db, name="db")
db.command()(audit)
app.add_typer(schema, name="schema")
app.add_typer(partitions, name="partitions")
app.add_typer(backup, name="backup")
app.add_typer(monitor, name="monitor")
monitor.command()(explain)
app.add_typer(graphiql, name="graphiql")


def main() -> None:
    """Run the command line; what a user can mend ends in one line on standard error and exit code 2."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # what is logged on the way there is not for this user
    try:
        app()
    except (AppError, SettingsError) as error:
        for line in str(error).splitlines():
            print(f"storegraph: {line}", file=sys.stderr)
        sys.exit(2)
