"""Trusted documents: those that the clients' own builds ask for, known to the server by their hashes.

A request can name one of them instead of sending it (GraphQL over HTTP, appendix A, "Persisted Documents"; Apollo's
``extensions.persistedQuery``), and the server can refuse all others. They come from a manifest, a JSON file that a
client's build writes. Nothing is ever added to them by a request.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal, cast

from graphql import GraphQLError, parse, strip_ignored_characters

from app.errors import BadUserInputError, ForbiddenError, OperationError
from app.graph.guard.limits import CHARACTERS_PER_TOKEN
from app.settings import Settings

log = logging.getLogger(__name__)

Mode = Literal["off", "log", "enforce"]
"""What becomes of a text that is not in the manifest: it is executed, or logged and executed, or refused."""

MOST_LOGGED = 1000
"""How many documents are logged, once each. Anybody can make more of them, and each is remembered."""

_SHA256 = "sha256:"
_NAMED = re.compile(r"\b(?:query|mutation|subscription)\s+([_A-Za-z][_0-9A-Za-z]{0,60})")


class TrustedDocuments:
    """The documents of a manifest, by their ids and hashes, and what to do with others."""

    def __init__(self, documents: Mapping[str, str], mode: Mode, max_tokens: int) -> None:
        """``documents``: ids and texts; an id is any string, and each text is found by its ``sha256:`` id as well.
        ``max_tokens``: a text with more of them is none of these, however it is written."""
        self._mode = mode
        self._max_tokens = max_tokens
        self._by_id = {_SHA256 + _hash(text): text for text in documents.values()} | dict(documents)
        self._stripped = {_hash(strip_ignored_characters(text)) for text in documents.values()}
        self._logged: set[str] = set()

    @classmethod
    def load(cls, settings: Settings) -> "TrustedDocuments":
        """Those of the manifest that the settings name; none where they name none.

        A manifest is in any of the forms that clients' builds write: graphql-codegen's ``persistedDocuments`` and
        relay-compiler's ``persistConfig.file``, both an object of ids and texts, or Apollo's
        ``apollo-persisted-query-manifest``, version 1.

        Raises:
            OperationError: it cannot be read, is none of these, holds no document or something that is none, or an id
                that begins with ``sha256:`` is not the hash of its document. The message names the setting, the file
                and the id.
                Or there is none, and the mode is another than ``off``.
        """
        if settings.trusted_documents_manifest is not None:
            documents = _read(settings.trusted_documents_manifest, settings.max_tokens)
            return cls(documents, settings.trusted_documents, settings.max_tokens)
        if settings.trusted_documents != "off":
            raise OperationError(
                f"TRUSTED_DOCUMENTS is {settings.trusted_documents}: set TRUSTED_DOCUMENTS_MANIFEST to the file that "
                "holds the documents."
            )
        return cls({}, "off", settings.max_tokens)

    def resolve(
        self, query: str | None, extensions: Mapping[str, object] | None = None, document_id: object = None
    ) -> str:
        """The text to execute, of a request's ``query``, ``extensions`` and ``documentId``.

        An unknown id has the message ``PersistedQueryNotFound``, or ``PersistedQueryNotSupported`` without a manifest:
        Apollo's and urql's clients then send the text itself, with the hash beside it, or stop sending hashes. Nothing
        is remembered of that text.

        Raises:
            BadUserInputError: there is no query and no id, the id is unknown or not a string, it is sent together with
                a query, or Apollo's hash is not that of the query.
            ForbiddenError: the text is not in the manifest, where the mode is ``enforce``.
        """
        hashed = _hash_in(extensions)
        if document_id is not None:
            if query:
                raise BadUserInputError("Give query or documentId, not both.")
            if not isinstance(document_id, str):
                raise BadUserInputError("documentId must be a string.")
            return self._find(document_id)
        if not query:
            if hashed is None:
                raise BadUserInputError("Give a query.")
            return self._find(hashed)
        if hashed is not None and hashed != _hash(query):
            raise BadUserInputError("extensions.persistedQuery.sha256Hash is not the hash of the query.")
        if self._mode != "off" and not self._is_trusted(query):
            self._meet(query)
        return query

    def _find(self, document_id: str) -> str:
        for known in (document_id, _SHA256 + document_id):
            if known in self._by_id:
                return self._by_id[known]
        raise BadUserInputError("PersistedQueryNotFound" if self._by_id else "PersistedQueryNotSupported")

    def _is_trusted(self, text: str) -> bool:
        """Whether the text is in the manifest, or one that differs in nothing but white space, commas and comments."""
        if _SHA256 + _hash(text) in self._by_id:
            return True
        if len(text) > CHARACTERS_PER_TOKEN * self._max_tokens:
            return False
        try:
            # Stripping counts no tokens: it could take ten times as long.
            parse(text, max_lexical_tokens=self._max_tokens, max_comments=self._max_tokens)
            return _hash(strip_ignored_characters(text)) in self._stripped
        except GraphQLError:  # it cannot be read
            return False

    def _meet(self, text: str) -> None:
        """Refuse an unknown text, or log it."""
        if self._mode == "enforce":
            raise ForbiddenError("Only the documents that this server knows are executed.")
        hashed = _hash(text)
        if hashed in self._logged or len(self._logged) == MOST_LOGGED:
            return
        self._logged.add(hashed)
        name = match[1] if (match := _NAMED.search(text)) else "without a name"
        log.warning("not a trusted document: %s%s (%s)", _SHA256, hashed, name)
        if len(self._logged) == MOST_LOGGED:
            log.warning("no more of the documents that are not trusted are logged")


def _hash(text: str) -> str:
    """As section "SHA256 Hex Document Identifier" of the appendix has it."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def _hash_in(extensions: Mapping[str, object] | None) -> str | None:
    """The hash that Apollo's protocol for persisted queries has in the extensions; None without it."""
    asked = (extensions or {}).get("persistedQuery")
    if asked is None:
        return None
    hashed = cast("dict[str, object]", asked).get("sha256Hash") if isinstance(asked, dict) else None
    if not isinstance(hashed, str):
        raise BadUserInputError("extensions.persistedQuery must be an object with sha256Hash, a string.")
    return hashed


def _read(path: Path, max_tokens: int) -> dict[str, str]:
    """The ids and texts of a manifest, each a document that can be executed at all."""
    place = f"TRUSTED_DOCUMENTS_MANIFEST: {path}"
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperationError(f"{place}: cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):  # bytes that are no text are a ValueError, too
        raise OperationError(f"{place}: is not JSON.") from None
    documents: dict[str, str] = {}
    for key, text in _entries(content, place):
        if not isinstance(key, str) or not isinstance(text, str):
            raise OperationError(f"{place}: an id and its document must be strings.")
        if key.startswith(_SHA256) and key != _SHA256 + _hash(text):
            raise OperationError(f"{place}: {key} is not the hash of its document, which is {_SHA256}{_hash(text)}.")
        if documents.setdefault(key, text) != text:
            raise OperationError(f"{place}: there are two documents with the id {key}.")
        try:
            parse(text, max_lexical_tokens=max_tokens, max_comments=max_tokens)
        except GraphQLError as error:
            raise OperationError(f"{place}: what has the id {key} is not a document: {error.message}") from None
    if not documents:
        raise OperationError(f"{place}: holds no document.")
    return documents


def _entries(content: object, place: str) -> Iterator[tuple[object, object]]:
    """The ids and texts of a manifest, not yet looked at."""
    if not isinstance(content, dict):
        raise OperationError(f"{place}: must be a JSON object of ids and documents, or one of Apollo's manifests.")
    fields = cast("dict[str, object]", content)
    if "format" not in fields:
        yield from fields.items()
        return
    operations = fields.get("operations")
    if (fields["format"], fields.get("version")) != ("apollo-persisted-query-manifest", 1) or not isinstance(
        operations, list
    ):
        raise OperationError(f"{place}: only version 1 of the format apollo-persisted-query-manifest can be read.")
    for operation in cast("list[object]", operations):
        if not isinstance(operation, dict):
            raise OperationError(f"{place}: operations must be objects with id and body.")
        entry = cast("dict[str, object]", operation)
        yield entry.get("id"), entry.get("body")
