"""GraphiQL's files: which they are, where they come from, and whether those in a folder are the very ones.

They are others', and so not in the repository. ``graphiql.lock.json`` names them by npm package, with the hashes of
each package and of each file; a file that is not what it says is used from nowhere. The layout is that of the CDN,
whose addresses begin with package and version.
"""

import base64
import hashlib
import hmac
import json
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypedDict

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.settings import Settings

log = logging.getLogger(__name__)

CDN = "https://unpkg.com"
HERE = Path(__file__).parent
FOLDER = HERE.parent / "_graphiql"
"""Where they are installed unless somebody says otherwise: in the package, so that a wheel built then has them."""

_TYPES = {".js": "text/javascript", ".css": "text/css"}
_FOR_EVER = "public, max-age=31536000, immutable"  # the address holds the hash
_HASH_IN_ADDRESS = 16  # hexadecimal digits of 96: a mix-up would have to be made on purpose, and the page has all of it


class _Locked(TypedDict):
    integrity: str
    files: dict[str, str]


@dataclass(frozen=True)
class File:
    """A file of a package."""

    path: str
    """Below a folder, or below the CDN: ``react@18.2.0/umd/react.production.min.js``."""
    integrity: str
    """``sha384-`` and the hash in base64, as a page has it (Subresource Integrity)."""

    @property
    def address(self) -> str:
        """Where we serve it."""
        digest = base64.b64decode(self.integrity.removeprefix("sha384-")).hex()
        return f"/graphiql/{digest[:_HASH_IN_ADDRESS]}/{PurePosixPath(self.path).name}"

    def holds(self, content: bytes) -> bool:
        """Whether this is its content."""
        return hmac.compare_digest(self.integrity, integrity_of(content, "sha384"))

    def is_in(self, folder: Path) -> bool:
        """Whether a folder has it, unchanged."""
        try:
            return self.holds((folder / self.path).read_bytes())
        except OSError:
            return False


@dataclass(frozen=True)
class Package:
    """A package of npm's, as its archive is there and what we need of it."""

    name: str
    """With its version: ``react@18.2.0``."""
    integrity: str
    """``sha512-`` and the hash of the archive in base64, as npm has it."""
    files: tuple[File, ...]


def integrity_of(content: bytes, algorithm: str) -> str:
    """A hash as pages and npm write it: ``sha384-oqVu…``."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


@cache
def packages() -> tuple[Package, ...]:
    """What the page is made of, in the order in which it needs them."""
    locked: dict[str, _Locked] = json.loads((HERE / "graphiql.lock.json").read_bytes())
    return tuple(
        Package(name, of["integrity"], tuple(File(f"{name}/{path}", hash_) for path, hash_ in of["files"].items()))
        for name, of in locked.items()
    )


def files(suffix: str) -> list[File]:
    """The scripts (``.js``), or the style sheets (``.css``), in order. (The others are licences.)"""
    return [file for package in packages() for file in package.files if file.path.endswith(suffix)]


def installed(settings: Settings) -> Path | None:
    """The folder that has every file, unchanged; None, and a warning where somebody should know, if there is none."""
    folder = settings.graphiql_dir or FOLDER
    wrong = [file.path for package in packages() for file in package.files if not file.is_in(folder)]
    if not wrong:
        return folder
    if settings.graphiql_dir is not None or folder.exists():
        log.warning(
            "GraphiQL comes from %s, since %s has %d files missing or changed, %s for one; run: storegraph graphiql "
            "install --dir %s",
            *(CDN, folder, len(wrong), wrong[0], folder),
        )
    return None


def files_route(folder: Path) -> Route:
    """The route of the files in a folder: ``File.address`` of each."""
    known = {file.address: file for suffix in _TYPES for file in files(suffix)}

    async def serve(request: Request) -> Response:
        file = known.get(request.url.path)
        if file is None or not (path := folder / file.path).is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": _FOR_EVER})

    return Route("/graphiql/{rest:path}", serve)
