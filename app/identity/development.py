"""An access token for whoever can read the server's settings, to try things with: what ``storegraph token`` prints."""

from app.database import Databases
from app.errors import OperationError
from app.identity.sessions import Identity
from app.settings import Settings
from app.viewer import Role


async def access_token(settings: Settings, *, email: str | None = None, role: Role | None = None) -> str:
    """Start a session of the user with an address, or of the oldest active one with a role.

    Raises:
        OperationError: JWT_SECRET is not set, both or neither are asked for, there is no such user, the user is not
            active, or the users database has no tables for sessions yet.
        DatabaseUnavailableError: the users database does not answer.
    """
    if settings.jwt_secret is None:
        raise OperationError("JWT_SECRET is not set (nor JWT_SECRET_FILE); the server's own is needed to sign a token")
    if email is not None and role is not None:
        raise OperationError("say --email or --role, not both")
    async with Databases.opened(settings) as databases:
        identity = Identity(databases, settings)
        try:
            return (await identity.start_session(email=email, role=role)).access_token
        finally:
            identity.close()
