"""Who asks, as far as reads and fields must know it. Knows no token, no table and no GraphQL."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["customer", "support", "admin"]


@dataclass(frozen=True)
class Viewer:
    """Who asks: the user's uuid, the session that the request belongs to, and the role; nobody has none of them."""

    user: str | None = None
    session: str | None = None
    role: Role | None = None

    @property
    def is_staff(self) -> bool:
        """Whether the viewer sees every user's rows, and what is for staff alone. Support reads what admins read."""
        return self.role in ("support", "admin")


NOBODY = Viewer()
