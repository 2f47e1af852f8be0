"""Access tokens: JSON Web Tokens (RFC 7519) that say for a short time who asks. No database is asked to verify one."""

from collections import OrderedDict
from time import time
from typing import Any
from uuid import UUID

import jwt
from jwt.types import Options

from app.errors import UnauthenticatedError
from app.viewer import Viewer

# One algorithm, one issuer, one audience and an explicit type: another token that is signed with the same secret, or
# that names its own algorithm, is none of ours (RFC 8725, sections 3.1, 3.8, 3.9 and 3.11).
_ALGORITHM = "HS256"
_TYPE = "at+jwt"
_ISSUER = _AUDIENCE = "storegraph"
_CLAIMS = ["iss", "aud", "sub", "sid", "role", "iat", "exp"]
_JWT: Any = jwt.PyJWT()  # its signatures name types of a library that HS256 does not need
_LONGEST = 2048  # characters; ours have about 400
_ROLES = ("customer", "support", "admin")
_KEPT = 4096
"""How many tokens are kept with what they say: to verify one takes as long as some answers."""


class AccessTokens:
    """Makes and reads access tokens. ``lifetime`` is in seconds."""

    def __init__(self, secret: str, lifetime: int) -> None:
        self._secret = secret
        self.lifetime = lifetime
        self._known: OrderedDict[str, tuple[Viewer, int]] = OrderedDict()  # verified, with the second they expire at

    @property
    def kept(self) -> int:
        """How many verified tokens are kept."""
        return len(self._known)

    def issue(self, viewer: Viewer) -> str:
        """A token for a viewer who is somebody."""
        now = int(time())
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": viewer.user,
            "sid": viewer.session,
            "role": viewer.role,
            "iat": now,
            "exp": now + self.lifetime,
        }
        return _JWT.encode(claims, self._secret, algorithm=_ALGORITHM, headers={"typ": _TYPE})

    def read(self, token: str) -> Viewer:
        """Who the token says asks.

        Raises:
            UnauthenticatedError: it is not one of ours, or has expired. Which of these, it does not say.
        """
        known = self._known.get(token)
        if known is not None and time() < known[1]:
            self._known.move_to_end(token)
            return known[0]
        try:
            viewer, expires = self._read(token)
        except (jwt.PyJWTError, ValueError, RecursionError):  # the last of deep JSON, in older versions of PyJWT
            raise ended() from None
        self._known[token] = viewer, expires
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return viewer

    def _read(self, token: str) -> tuple[Viewer, int]:
        if len(token) > _LONGEST:
            raise ValueError("too long")
        # Without a check of `iat`: where the clock of another process is ahead, its newest tokens are of the future.
        options: Options = {"require": _CLAIMS, "verify_iat": False}
        decoded = _JWT.decode_complete(
            token, self._secret, algorithms=[_ALGORITHM], issuer=_ISSUER, audience=_AUDIENCE, options=options
        )
        claims: dict[str, Any] = decoded["payload"]  # whatever JSON it held
        if decoded["header"].get("typ") != _TYPE or claims["role"] not in _ROLES:
            raise ValueError("of another type")
        viewer = Viewer(str(UUID(str(claims["sub"]))), str(UUID(str(claims["sid"]))), claims["role"])
        return viewer, int(claims["exp"])


def ended() -> UnauthenticatedError:
    """What is said of every token that is refused."""
    return UnauthenticatedError(
        "This access token is not valid, or no longer: refresh the session, without this header, or log in again."
    )
