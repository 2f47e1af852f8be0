"""What is refused for its size: each limit at its edge, and all numbers against a literal count."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import pytest
from graphql import GraphQLError, GraphQLInputObjectType, get_introspection_query, parse
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.errors import LimitExceededError
from app.graph.guard.limits import (
    COUNTED_TO,
    PASSWORD_MUTATIONS,
    check_limits,
    check_text,
    check_variables,
    measure,
)
from app.graph.schema import build_schema
from app.settings import DATABASE_NAMES, load_settings

SETTINGS = load_settings(**{f"{name}_database_url": f"postgresql://u@h/{name}" for name in DATABASE_NAMES})
EXAMPLES = hypothesis_settings(max_examples=200, print_blob=False)


def refusal(text: str) -> str | None:
    """Why a document is refused; None if it is not."""
    try:
        check_limits(parse(text), SETTINGS)
    except LimitExceededError as error:
        return str(error)
    return None


def many(number: int, text: str = "a") -> str:
    return " ".join([text] * number)


# Each makes a document that has so many of something, and says how many it may have.
EDGES: dict[str, tuple[int, Callable[[int], str]]] = {
    "operations": (10, lambda n: many(n, "query a {a}")),
    "fragments": (50, lambda n: "{a}" + many(n, "fragment f on Query {a}")),
    "inline fragments": (50, lambda n: "{" + many(n - 1, "... {a}") + "... on A {a} }"),
    "fields and fragment spreads": (500, lambda n: "{" + many(n - 250) + "} fragment f on Query {" + many(250) + "}"),
    "spreads": (500, lambda n: "{" + many(n - 1, "...f") + "} fragment f on Query { ...none }"),
    "variables": (50, lambda n: "query (" + many(n, "$a: Int") + ") {a}"),
    "directives": (50, lambda n: "query @d {" + many(n - 3, "a @d") + " ...f @d} fragment f on A @d {a}"),
    "values": (100, lambda n: "query ($a: [Int] = [" + many(n, "1") + "]) {a}"),
    "list values in a list": (100, lambda n: "{a(b: {c: [[" + many(n, "1") + "]]})}"),
    "object values": (100, lambda n: "{a @d(b: [{" + many(n, "c: 1") + "}])}"),
    "digits of a number": (100, lambda n: "query ($a: Int = " + "1" * n + ") {a}"),
    "characters of a number": (100, lambda n: "{a(b: [{c: -1." + "1" * (n - 3) + "}])}"),
    "deep": (12, lambda n: "{a" * n + "}" * n),
    "deep in fragments": (12, lambda n: "{a{...f}} fragment f on Q {... on Q" + "{a" * (n - 1) + "}" * n),
    "fields deep": (16, lambda n: "{__schema" + "{a" * (n - 1) + "}" * n),
    "fields deep in fragments": (16, lambda n: "{x:__type{...f}} fragment f on Q" + "{a" * (n - 1) + "}" * (n - 1)),
    "fields": (500, lambda n: "{" + many(n - 400) + " ...f ...f} fragment f on Query {" + many(200) + "}"),
    "aliases": (
        30,
        lambda n: "{" + many(n - 20, "b: a") + " ...f ...f} fragment f on Query {" + many(10, "b: a") + "}",
    ),
    "mutations": (5, lambda n: "mutation {" + many(n - 2) + " ...f} fragment f on M { a{b c} ... on M {a} }"),
}


@pytest.mark.parametrize("name", EDGES)
def test_what_is_at_a_limit_is_let_through_and_what_is_above_is_refused(name: str) -> None:
    allowed, document = EDGES[name]
    assert refusal(document(allowed)) is None
    message = refusal(document(allowed + 1))
    assert message is not None
    assert message.endswith(f"; at most {allowed} are allowed.")
    assert str(allowed + 1) in message


@pytest.mark.parametrize(
    "text",
    [
        "mutation { logIn signUp }",
        "mutation { a: logIn b: logIn }",
        "mutation { ... { logIn } ...f } fragment f on Mutation { changePassword }",
    ],
)
def test_one_mutation_that_hashes_a_password_is_enough(text: str) -> None:
    assert refusal(text) == "An operation has 2 mutations that take a password; at most 1 are allowed."


def test_the_mutations_that_hash_a_password_are_those_that_take_one() -> None:
    schema = build_schema()._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own
    assert schema.mutation_type is not None
    taking: set[str] = set()
    for name, field in schema.mutation_type.fields.items():
        type_ = schema.type_map[str(field.args["input"].type).rstrip("!")]
        assert isinstance(type_, GraphQLInputObjectType)
        if any("password" in field.lower() for field in type_.fields):
            taking.add(name)
    assert taking == PASSWORD_MUTATIONS


@pytest.mark.parametrize(
    "text",
    [
        r'{a(b: "\u0000")}',
        r'{a(b: [{c: "x\u{0}y"}])}',
        r'query ($a: String = "\u0000") {a}',
        r'{...f} fragment f on Query @d(a: "\u{00}") {a}',
    ],
)
def test_a_text_that_no_column_can_hold_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(GraphQLError, match=r"^The document has a character that no text can have\.") as refused:
        check_limits(parse(text), SETTINGS)
    assert refused.value.locations is not None
    assert [place.column for place in refused.value.locations] == [text.index('"') + 1]


def test_what_only_looks_like_such_a_character_is_let_through() -> None:
    assert refusal(r'{a(b: "\\u0000", c: """\u0000""", d: "\u0001")} # \u0000') is None


def test_a_log_in_together_with_other_mutations_is_let_through() -> None:
    assert refusal("mutation { logIn a b { logIn signUp } }") is None


def test_the_largest_operation_counts() -> None:
    assert refusal("query a { b } query c {" + many(501) + "} query d { e }") is not None
    assert measure(parse("mutation m { a b } query q { c d e }")).root_mutations == 2


def test_the_usual_introspection_query_is_let_through() -> None:
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    assert refusal(query) is None


def test_a_document_can_be_as_long_as_its_tokens_allow() -> None:
    check_text(" " * 64_000, SETTINGS)
    with pytest.raises(LimitExceededError, match=r"The document has 64,001 characters; at most 64,000 are allowed\."):
        check_text(" " * 64_001, SETTINGS)


def test_numbers_are_counted_up_to_a_million() -> None:
    document = "{...f0}" + many(1, "".join(f" fragment f{i} on Q {{...f{i + 1} ...f{i + 1}}}" for i in range(49)))
    size = measure(parse(document + "fragment f49 on Q { a: b }"))
    assert (size.fields, size.aliases) == (COUNTED_TO, COUNTED_TO)
    assert refusal(document + "fragment f49 on Q { b }") == (
        "An operation, with its fragments put in, has 1,000,000 or more fields; at most 500 are allowed."
    )


# Variables


def test_a_list_in_the_variables_is_as_long_as_one_in_the_document() -> None:
    check_variables({"a": {"b": [[0] * 100]}}, SETTINGS)
    with pytest.raises(LimitExceededError, match=r"A list in the variables has 101 values; at most 100 are allowed\."):
        check_variables({"a": {"b": [[0] * 101]}}, SETTINGS)


def test_the_variables_have_as_many_values_as_a_document_has_tokens() -> None:
    lists = [[0] * 99] * 19 + [[0] * 97]  # with the list of lists and the two variables: 2,000 values
    check_variables({"a": lists, "b": {}}, SETTINGS)
    message = r"The variables have 2,001 values in all; at most 2,000 are allowed\."
    with pytest.raises(LimitExceededError, match=message):
        check_variables({"a": lists, "b": {"c": None}}, SETTINGS)


# Depth


@pytest.mark.parametrize("text", ["{a" * 1000, "{a(b:" + "[" * 1995, "query($a:" + "[" * 1990, "{a(b:" + "{c:" * 660])
def test_the_parser_itself_refuses_what_is_nested_too_deeply(text: str) -> None:
    """No RecursionError comes out of it, however deep in the stack it is called: none has to be caught."""

    def below(depth: int) -> None:
        if depth:
            below(depth - 1)
        else:
            with pytest.raises(GraphQLError, match="nested too deeply"):
                parse(text, max_tokens=2000)

    below(10)
    below(500)


def test_counting_does_not_recurse() -> None:
    document = parse("{a(b:" + "[" * 190 + "]" * 190 + ")" + "{... {a" * 95 + "}}" * 95 + "}")
    variables: dict[str, Any] = {}
    for _ in range(1900):
        variables = {"a": variables}
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 40)
    try:
        assert measure(document).depth == 96
        check_variables(variables, SETTINGS)
    finally:
        sys.setrecursionlimit(usual)


# The oracle: the document as a tree, and every fragment really put in


@dataclass(frozen=True)
class Field:
    name: str
    alias: str | None
    directives: int
    numbers: int | None
    below: "tuple[Selection, ...] | None"

    def __str__(self) -> str:
        alias = f"{self.alias}: " if self.alias else ""
        argument = f"(x: [{many(self.numbers, '1')}])" if self.numbers is not None else ""
        return f"{alias}{self.name}{argument}{' @d' * self.directives}{text_of(self.below)}"


@dataclass(frozen=True)
class Inline:
    below: "tuple[Selection, ...]"

    def __str__(self) -> str:
        return f"...{text_of(self.below)}"


@dataclass(frozen=True)
class Spread:
    fragment: int

    def __str__(self) -> str:
        return f"...f{self.fragment}"


Selection = Field | Inline | Spread


def text_of(selections: tuple[Selection, ...] | None) -> str:
    return "" if selections is None else "{" + " ".join(map(str, selections)) + "}"


NAMES = ["a", "b", "__schema", "__type", "logIn", "signUp"]


UNKNOWN = 9
Document = tuple[list[tuple[str, tuple[Selection, ...]]], dict[int, tuple[Selection, ...]]]
"""Operations with their kinds, and fragments by number."""


def selections(random: Random, spreads: list[int], depth: int = 0) -> tuple[Selection, ...]:
    """Some selections that spread these fragments only."""
    return tuple(selection(random, spreads, depth) for _ in range(random.randint(1, 3)))


def selection(random: Random, spreads: list[int], depth: int) -> Selection:
    kind = random.random()
    if kind < 0.3:
        return Spread(random.choice(spreads))
    below = selections(random, spreads, depth + 1) if depth < 3 and random.random() < 0.5 else None
    if kind < 0.45 and below:
        return Inline(below)
    numbers = random.choice([None, None, 0, 1, 3])
    return Field(random.choice(NAMES), random.choice([None, "z"]), random.choice([0, 0, 1, 2]), numbers, below)


def made(random: Random, *, cycles: bool) -> Document:
    """A small document. Without cycles, a fragment spreads those after it only."""
    count = random.randint(0, 4)
    fragments = {
        number: selections(random, [*range(0 if cycles else number + 1, count), UNKNOWN]) for number in range(count)
    }
    kinds = random.choices(["query", "mutation"], k=random.randint(1, 2))
    return [(kind, selections(random, [*range(count), UNKNOWN])) for kind in kinds], fragments


def document_of(document: Document) -> str:
    operations, fragments = document
    parts = [f"{kind} q {text_of(below)}" for kind, below in operations]
    return " ".join(parts + [f"fragment f{number} on A {text_of(below)}" for number, below in fragments.items()])


Path = tuple[Field, ...]


def paths(selected: tuple[Selection, ...], fragments: dict[int, tuple[Selection, ...]], above: Path = ()) -> list[Path]:
    """The path of every field, with every fragment put in."""
    found: list[Path] = []
    for selection in selected:
        match selection:
            case Field():
                path = (*above, selection)
                found += [path, *paths(selection.below or (), fragments, path)]
            case Inline():
                found += paths(selection.below, fragments, above)
            case Spread():
                found += paths(fragments.get(selection.fragment, ()), fragments, above)
    return found


def written(selected: tuple[Selection, ...]) -> list[Selection]:
    """Every selection as it is written."""
    found = list(selected)
    for selection in selected:
        if not isinstance(selection, Spread):
            found += written(selection.below or ())
    return found


@EXAMPLES
@given(st.randoms(use_true_random=True))
def test_the_numbers_are_those_of_the_document_written_out(random: Random) -> None:
    document = made(random, cycles=False)
    operations, fragments = document
    here = [found for _, below in operations for found in written(below)]
    here += [found for below in fragments.values() for found in written(below)]
    fields = [found for found in here if isinstance(found, Field)]
    expanded = [(kind, paths(below, fragments)) for kind, below in operations]
    of_schema = {"__schema", "__type"}
    every = [(path, {field.name for field in path}) for _, found in expanded for path in found]
    roots = [[path[0].name for path in found if len(path) == 1] for kind, found in expanded if kind == "mutation"]
    assert asdict(measure(parse(document_of(document)))) == {
        "operations": len(operations),
        "fragments": len(fragments),
        "inline_fragments": sum(isinstance(found, Inline) for found in here),
        "selections": sum(not isinstance(found, Inline) for found in here),
        "variables": 0,
        "directives": sum(field.directives for field in fields),
        "longest_literal": max((field.numbers or 0 for field in fields), default=0),
        "unstorable": None,
        "longest_number": max((1 for field in fields if field.numbers), default=0),
        "depth": max((len(path) for path, names in every if not names & of_schema), default=0),
        "introspection_depth": max((len(path) for path, names in every if names & of_schema), default=0),
        "fields": max(len(found) for _, found in expanded),
        "aliases": max(sum(path[-1].alias is not None for path in found) for _, found in expanded),
        "root_mutations": max(map(len, roots), default=0),
        "password_mutations": max((sum(name in ("logIn", "signUp") for name in names) for names in roots), default=0),
    }


@EXAMPLES
@given(st.randoms(use_true_random=True))
def test_a_document_with_cycles_is_counted_and_left_to_validation(random: Random) -> None:
    document = made(random, cycles=True)
    size = measure(parse(document_of(document)))
    assert (size.operations, size.fragments) == (len(document[0]), len(document[1]))


def test_fragments_of_one_name_are_left_to_validation() -> None:
    assert refusal("{...f} fragment f on Query {a} fragment f on Query {b}") is None
