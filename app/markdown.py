"""Pages in Markdown, as GitHub shows it: what the documentation that is made of the schema is written with."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, and a blank line before and behind it; nothing where there are no rows."""
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join(("", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines, "", ""))


def _cell(text: str) -> str:
    """A cell is one line, and ends at a vertical bar, also within code."""
    return " ".join(text.split()).replace("|", r"\|")


def code(text: str) -> str:
    """A name or a type as code."""
    return f"`{text}`"


def link(text: str, to: str) -> str:
    """A link to a page, a heading of one, or a heading of this page."""
    return f"[{text}]({to})"
