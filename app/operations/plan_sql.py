"""A statement's text made plain enough to be told by: one line, no comments, no texts, names as PostgreSQL has them."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+ | --[^\n]* | /\*.*?\*/)
    | (?P<text>[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | (?P<tag>\$\w*\$).*?(?P=tag))
    | (?P<name>"(?:[^"]|"")*")
    | (?P<word>\w+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

NAME = r'(?:(?:"(?:[^"]|"")*"|\w+)\.)?(?:"(?:[^"]|"")*"|\w+)'
"""Matches a name, with its schema or without, in what ``plain`` returns."""


def plain(sql: str) -> str:
    """A statement on one line: one blank for blanks and comments, ``''`` for each text, no ``;`` at the end."""
    parts: list[str] = []
    for token in _TOKEN.finditer(sql):
        if token["blank"]:
            parts.append(" ")
        elif token["text"]:
            parts.append("''")
        else:
            parts.append(token[0])
    line = re.sub(r" +", " ", "".join(parts)).strip().removesuffix(";").strip()
    return re.sub(r" ?([(),]) ?", r" \1 ", line).replace("  ", " ").strip()


def named(name: str) -> str:
    """What a name in a statement is called in the catalogue: without quotes and without the schema."""
    last = re.findall(r'"(?:[^"]|"")*"|\w+', name)[-1]
    return last[1:-1].replace('""', '"') if last.startswith('"') else last.lower()


def parts(text: str) -> Iterator[str]:
    """A list's items: what stands between the commas that are in no brackets."""
    depth, item = 0, ""
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield item.strip()
            item = ""
        else:
            item += letter
    yield item.strip()
