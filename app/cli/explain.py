"""``storegraph monitor explain``: what a query costs, statement by statement."""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.text import Text
from rich.tree import Tree

from app.cli.output import Json, output
from app.errors import OperationError
from app.settings import load_settings
from app.viewer import Role

if TYPE_CHECKING:
    from app.graph.explain_plans import Explanation, Planned, PlanNode

_NAMES = ("Relation Name", "CTE Name", "Function Name", "Alias")
_CONDITIONS = (
    "Index Cond",
    "Recheck Cond",
    "Hash Cond",
    "Merge Cond",
    "Join Filter",
    "Filter",
    "Sort Key",
    "Group Key",
)


def explain(
    query: Annotated[str, typer.Argument(help="A GraphQL document; - is standard input.")],
    variables: Annotated[str | None, typer.Option(help="The operation's variables, as a JSON object.")] = None,
    operation: Annotated[str | None, typer.Option(help="Which operation, where the document has several.")] = None,
    role: Annotated[
        Role | None, typer.Option(help="Ask as the oldest active user of a role; nobody by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a query in this process, and show each of its statements with its plan.

    Each is run a second time, by EXPLAIN (ANALYZE, BUFFERS) in a transaction that can change nothing, with the generic
    plan that the gateway's own would have. A mutation is refused. Exit code 1 where the answer has errors.
    """
    from app.graph.explain_plans import explain

    document = sys.stdin.read() if query == "-" else query
    found = asyncio.run(
        explain(load_settings(), document, variables=_object(variables), operation=operation, role=role)
    )
    if as_json:
        print(json.dumps(asdict(found), default=str))
    else:
        _print(found)
    if found.errors:
        raise typer.Exit(1)


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise OperationError(f"--variables is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise OperationError('--variables must be an object, as in {"id": "…"}')
    return cast("dict[str, Any]", value)


def _print(found: "Explanation") -> None:
    for number, planned in enumerate(found.statements, 1):
        output.print(_head(number, planned), highlight=False)
        output.print(Text(planned.sent.sql, style="dim"), soft_wrap=True)  # to be copied
        output.print(_tree(planned.plan), highlight=False)
        output.print()
    counts = Counter(planned.sent.database for planned in found.statements)
    title = f"{found.operation or 'the query'}, as {found.viewer}, by {found.executor}: {counts.total()} statements"
    databases = ", ".join(f"{name} {count}" for name, count in counts.items())
    output.print(Text(f"{title} ({databases})" if databases else title, style="bold"))
    for line in found.errors:
        output.print(Text(line, style="bold red"), soft_wrap=True)


def _head(number: int, of: "Planned") -> Text:
    """What was asked of which database, and what it took."""
    sent = of.sent
    asked = "" if sent.keys is None else f"{_counted(sent.keys, 'key')} → "
    rows = "failed" if sent.rows is None else _counted(sent.rows, "row")
    text = Text(f"{number}. {sent.database}: {sent.read} ({', '.join(sent.tables)})\n", style="bold")
    facts = [
        f"   {asked}{rows} in {sent.milliseconds:g} ms",
        f"planned in {of.planning_milliseconds:.2f} ms, run in {of.execution_milliseconds:.2f} ms",
        f"{_counted(of.buffers_hit + of.buffers_read, 'buffer')}"
        + (f", {of.buffers_read:,} of them read" if of.buffers_read else ""),
    ]
    facts += [
        f"{len(partitions.touched)} of {partitions.there_are} partitions of {partitions.table}"
        for partitions in of.partitions
    ]
    return text.append("; ".join(facts), style="not bold")


def _tree(plan: "PlanNode") -> Tree:
    tree = Tree(_node(plan), guide_style="dim")
    _grow(tree, plan)
    return tree


def _grow(tree: Tree, plan: "PlanNode") -> None:
    """Add what is below a node. Of partitions, most are never come to: those are only counted."""
    children: list[PlanNode] = plan.get("Plans", [])
    for child in children:
        if child["Actual Loops"]:
            _grow(tree.add(_node(child)), child)
    if idle := sum(not child["Actual Loops"] for child in children):
        tree.add(Text(f"{idle} never executed", style="dim"))


def _node(node: "PlanNode") -> Text:
    """A node of a plan in PostgreSQL's words."""
    text = Text(node["Node Type"])
    if "Index Name" in node:
        text.append(f" using {node['Index Name']}")
    if on := next((node[name] for name in _NAMES if name in node), None):
        text.append(f" on {on}")
    loops = node["Actual Loops"]
    times = f" in each of {loops:,} loops" if loops > 1 else ""
    buffers = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    rows = _counted(node["Actual Rows"], "row")
    text.append(f"  {rows}{times}, {node['Actual Total Time'] * loops:.2f} ms, {_counted(buffers, 'buffer')}", "green")
    if pruned := node.get("Subplans Removed"):
        text.append(f", {pruned} pruned before it ran")
    for name in _CONDITIONS:
        if name in node:
            value = node[name]
            text.append(f"\n{name}: {', '.join(cast('list[str]', value)) if isinstance(value, list) else value}", "dim")
    if removed := node.get("Rows Removed by Filter"):
        text.append(f"\nRows Removed by Filter: {removed:,}", "yellow")
    return text


def _counted(number: float, noun: str) -> str:
    return f"{number:,g} {noun}" if number == 1 else f"{number:,g} {noun}s"
