"""Two small packages in place of GraphiQL's, with a lock of their own: whatever becomes of them can be tried."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.graph import graphiql
from app.graph.graphiql import integrity_of

CONTENTS = {
    "small@1.0.0": {"a.js": b"window.small = 1;", "LICENSE": b"MIT"},
    "@scope/other@2.0.0": {"dist/b.css": b"main { color: red }"},
}


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """A package as npm's registry has it, always the same bytes."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


# With a package.json, which npm looks for.
ARCHIVES = {
    name: archive_of(
        {"package.json": json.dumps(dict(zip(("name", "version"), name.rsplit("@", 1), strict=True))).encode()} | files
    )
    for name, files in CONTENTS.items()
}


def lock_them(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Have the lock name these two packages and nothing else; ``changes`` of file hashes, by the file's path."""
    lock = {
        name: {
            "integrity": integrity_of(ARCHIVES[name], "sha512"),
            "files": {path: changes.get(path, integrity_of(data, "sha384")) for path, data in files.items()},
        }
        for name, files in CONTENTS.items()
    }
    (folder / "graphiql.lock.json").write_text(json.dumps(lock))
    monkeypatch.setattr(graphiql, "HERE", folder)
    graphiql.packages.cache_clear()
