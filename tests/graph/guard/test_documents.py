"""Trusted documents: manifests as the clients' builds write them, ids as requests carry them, and other texts."""

import json
import logging
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.errors import BadUserInputError, ForbiddenError, OperationError
from app.graph.guard import documents
from app.graph.guard.documents import MOST_LOGGED, Mode, TrustedDocuments
from app.settings import DATABASE_NAMES, load_settings

ORDERS = "query Orders {\n  orders(first: 3) {\n    totalCount\n  }\n}"
VIEWER = 'query Viewer($name: String = "a, b") {\n  viewer { firstName } # who asks\n}'


def hashed(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def loaded(path: Path | None, mode: Mode = "enforce") -> TrustedDocuments:
    urls = {f"{name}_database_url": f"postgresql://u@h/{name}" for name in DATABASE_NAMES}
    return TrustedDocuments.load(load_settings(**urls, trusted_documents=mode, trusted_documents_manifest=path))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """The two documents by their hashes, as graphql-codegen writes them when it is told to use sha256."""
    return written(tmp_path, {hashed(ORDERS): ORDERS, hashed(VIEWER): VIEWER})


def written(folder: Path, content: object) -> Path:
    path = folder / "manifest.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def apollo(*operations: dict[str, object]) -> dict[str, object]:
    return {"format": "apollo-persisted-query-manifest", "version": 1, "operations": list(operations)}


def persisted(value: object) -> dict[str, object]:
    return {"persistedQuery": {"version": 1, "sha256Hash": value}}


MD5 = md5(ORDERS.encode()).hexdigest()
MANIFESTS: dict[str, tuple[object, str]] = {
    "graphql-codegen": ({hashed(ORDERS): ORDERS}, hashed(ORDERS)),
    "graphql-codegen with sha1": ({"cafe" * 10: ORDERS}, "cafe" * 10),
    "with a prefix": ({"sha256:" + hashed(ORDERS): ORDERS}, "sha256:" + hashed(ORDERS)),
    "relay-compiler": ({MD5: ORDERS}, MD5),
    "Apollo": (apollo({"id": hashed(ORDERS), "name": "Orders", "type": "query", "body": ORDERS}), hashed(ORDERS)),
    "Apollo with ids of its own": (apollo({"id": "web-1", "name": "Orders", "type": "query", "body": ORDERS}), "web-1"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_of_each_client_is_read(name: str, tmp_path: Path) -> None:
    content, own_id = MANIFESTS[name]
    trusted = loaded(written(tmp_path, content))
    assert trusted.resolve(None, None, own_id) == ORDERS
    assert trusted.resolve(None, None, "sha256:" + hashed(ORDERS)) == ORDERS
    assert trusted.resolve(None, persisted(own_id)) == ORDERS
    assert trusted.resolve(None, persisted(hashed(ORDERS))) == ORDERS
    assert trusted.resolve(ORDERS) == ORDERS


def test_the_hash_is_that_of_the_appendix(tmp_path: Path) -> None:
    """The two examples in section "SHA256 Hex Document Identifier"."""
    spaced, dense = "query ($id: ID!) {\n  user(id: $id) {\n    name\n  }\n}", "query($id:ID!){user(id:$id){name}}"
    trusted = loaded(written(tmp_path, {"a": spaced, "b": dense}))
    one = "sha256:7dba4bd717b41f10434822356a93c32b1fb4907b983e854300ad839f84cdcd6e"
    other = "sha256:71f7dc5758652baac68e4a10c50be732b741c892ade2883a99358f52b555286b"
    assert [trusted.resolve(None, None, one), trusted.resolve(None, None, other)] == [spaced, dense]


BROKEN: dict[str, tuple[object, str]] = {
    "not JSON": ("{", "is not JSON"),
    "nested too deeply": ("[" * 100_000, "is not JSON"),
    "a list": ([ORDERS], "must be a JSON object"),
    "empty": ({}, "holds no document"),
    "a text that is none": ({"a": 1}, "must be strings"),
    "no GraphQL": ({"a": "query {"}, "what has the id a is not a document: Syntax Error"),
    "too large to be executed": ({"a": "{" + "a " * 2000 + "}"}, "more than 2000 tokens"),
    "the hash of another": (
        {"sha256:" + hashed(VIEWER): ORDERS},
        f"is not the hash of its document, .*{hashed(ORDERS)}",
    ),
    "the hash in capitals": ({"sha256:" + hashed(ORDERS).upper(): ORDERS}, "is not the hash of its document"),
    "another version of Apollo's": (apollo() | {"version": 2}, "only version 1"),
    "another format": ({"format": "other", "version": 1, "operations": []}, "only version 1"),
    "Apollo's without operations": (apollo() | {"operations": None}, "only version 1"),
    "an operation that is none": (apollo() | {"operations": ["a"]}, "must be objects with id and body"),
    "an operation without a body": (apollo({"id": "a"}), "must be strings"),
    "two of one id": (apollo({"id": "a", "body": ORDERS}, {"id": "a", "body": VIEWER}), "two documents with the id a"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_manifest_is_refused_with_the_setting_its_path_and_the_reason(name: str, tmp_path: Path) -> None:
    content, reason = BROKEN[name]
    path = written(tmp_path, content)
    with pytest.raises(OperationError, match=reason) as error:
        loaded(path)
    assert str(error.value).startswith(f"TRUSTED_DOCUMENTS_MANIFEST: {path}: ")
    assert "\n" not in str(error.value)


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        OperationError, match=r"^TRUSTED_DOCUMENTS_MANIFEST: /.*: cannot be read: No such file or directory"
    ):
        loaded(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    with pytest.raises(OperationError, match="is not JSON"):
        loaded(tmp_path / "bytes.json")


@pytest.mark.parametrize("mode", ["log", "enforce"])
def test_comparing_needs_a_manifest(mode: Mode) -> None:
    with pytest.raises(OperationError, match=f"TRUSTED_DOCUMENTS is {mode}: set TRUSTED_DOCUMENTS_MANIFEST"):
        loaded(None, mode)


# Ids


@pytest.mark.parametrize("mode", ["off", "log", "enforce"])
@pytest.mark.parametrize("unknown", ["sha256:" + "0" * 64, "0" * 64, "x", "", "sha256:", "sha256:" + "sha256:"])
def test_an_unknown_id_is_answered_as_clients_expect(mode: Mode, unknown: str, manifest: Path) -> None:
    """Apollo's and urql's look for this message."""
    trusted = loaded(manifest, mode)
    with pytest.raises(BadUserInputError, match=r"^PersistedQueryNotFound$"):
        trusted.resolve(None, None, unknown)
    for query in (None, ""):
        with pytest.raises(BadUserInputError, match=r"^PersistedQueryNotFound$"):
            trusted.resolve(query, persisted(unknown))


def test_without_a_manifest_clients_are_told_to_send_no_hashes() -> None:
    trusted = loaded(None, "off")
    with pytest.raises(BadUserInputError, match=r"^PersistedQueryNotSupported$"):
        trusted.resolve(None, persisted(hashed(ORDERS)))
    assert trusted.resolve(ORDERS, persisted(hashed(ORDERS))) == ORDERS
    with pytest.raises(BadUserInputError, match=r"^PersistedQueryNotSupported$"):  # nothing was remembered
        trusted.resolve(None, persisted(hashed(ORDERS)))


REFUSED: list[tuple[tuple[Any, ...], str]] = [
    ((None,), "Give a query."),
    (("", {}, None), "Give a query."),
    ((ORDERS, None, hashed(ORDERS)), "Give query or documentId, not both."),
    ((None, None, 5), "documentId must be a string."),
    ((None, None, ["a"]), "documentId must be a string."),
    ((None, {"persistedQuery": "a"}), "extensions.persistedQuery must be an object with sha256Hash, a string."),
    ((None, {"persistedQuery": {}}), "extensions.persistedQuery must be an object with sha256Hash, a string."),
    ((ORDERS, persisted(5)), "extensions.persistedQuery must be an object with sha256Hash, a string."),
    ((ORDERS, persisted(hashed(VIEWER))), "extensions.persistedQuery.sha256Hash is not the hash of the query."),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_a_request_that_names_no_document_rightly_is_refused(
    arguments: tuple[Any, ...], message: str, manifest: Path
) -> None:
    for mode in ("off", "log", "enforce"):
        with pytest.raises(BadUserInputError) as error:
            loaded(manifest, mode).resolve(*arguments)
        assert str(error.value) == message


# Texts

OTHER_WAYS = [
    ORDERS + "\n",
    "\ufeff" + ORDERS,
    ORDERS.replace("\n", "\r\n"),
    "query Orders{orders(first:3){totalCount}}",
    "# a comment\nquery, Orders {orders(first: 3,) { totalCount, } }",
    'query Viewer($name:String="a, b"){viewer{firstName}}',
]
OTHERS = [
    "query Orders{orders(first:4){totalCount}}",
    "query Other{orders(first:3){totalCount}}",
    'query Viewer($name:String="a,b"){viewer{firstName}}',
    ORDERS + VIEWER,
    "query Orders {",
    '"',
    "\ud800",
    "{" + "a " * 2000 + "}",
    ORDERS + " " * 64_000,
]


@pytest.mark.parametrize("text", OTHER_WAYS)
def test_a_trusted_document_can_be_written_in_other_ways(
    text: str, manifest: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for mode in ("off", "log", "enforce"):
        assert loaded(manifest, mode).resolve(text) == text
    assert caplog.messages == []


@pytest.mark.parametrize("text", OTHERS)
def test_enforce_refuses_every_other_text(text: str, manifest: Path) -> None:
    with pytest.raises(ForbiddenError, match="Only the documents that this server knows are executed"):
        loaded(manifest, "enforce").resolve(text)


@pytest.mark.parametrize("text", OTHERS)
def test_log_lets_every_other_text_through_and_logs_it_once(
    text: str, manifest: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = loaded(manifest, "log")
    assert [trusted.resolve(text), trusted.resolve(text)] == [text, text]
    assert len(caplog.messages) == 1
    assert hashed(text) in caplog.text
    assert "first" not in caplog.text


def test_a_line_of_the_log_has_the_hash_and_the_name(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    trusted = loaded(manifest, "log")
    nameless, named = "{ viewer { email } }", "mutation\nBuy($a: Int) { buy(a: $a) }"
    for text in (nameless, named):
        trusted.resolve(text)
    assert [(record.levelno, record.name) for record in caplog.records] == [(logging.WARNING, documents.__name__)] * 2
    assert caplog.messages == [
        f"not a trusted document: sha256:{hashed(nameless)} (without a name)",
        f"not a trusted document: sha256:{hashed(named)} (Buy)",
    ]


def test_the_log_does_not_grow_without_an_end(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    trusted = loaded(manifest, "log")
    for number in range(MOST_LOGGED + 50):
        trusted.resolve(f"{{ a{number} }}")
    assert len(caplog.messages) == MOST_LOGGED + 1
    assert caplog.messages[-1] == "no more of the documents that are not trusted are logged"


def test_off_lets_everything_through_in_silence(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    for text in OTHERS:
        assert loaded(manifest, "off").resolve(text) == text
    assert caplog.messages == []


@hypothesis_settings(max_examples=100, print_blob=False)
@given(st.text(), st.sampled_from([" ", ",", "\n", "\t", "#x\n"]))
def test_a_text_is_trusted_in_whatever_white_space_and_no_other_is(text: str, blank: str) -> None:
    urls = {f"{name}_database_url": f"postgresql://u@h/{name}" for name in DATABASE_NAMES}
    most = load_settings(**urls).max_tokens
    trusted = TrustedDocuments({"a": ORDERS}, "enforce", most)
    spaced = ORDERS.replace(" ", blank + " ").replace("\n", blank + "\n")
    assert trusted.resolve(spaced) == spaced
    if text.strip(" \t\r\n,\ufeff"):
        with pytest.raises(ForbiddenError):
            trusted.resolve(ORDERS + "{" + text + "}")
