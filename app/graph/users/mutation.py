"""The root mutations of the users database: who one is, proved by a password, and kept up by tokens."""

from typing import Annotated, Any, cast

import strawberry

from app.domains.users import reads
from app.graph.context import Info
from app.graph.fields import own
from app.graph.users.types import User
from app.graph.visibility import OWNER, PUBLIC, Visibility, check_visible, public
from app.identity.sessions import Tokens
from app.viewer import NOBODY


@strawberry.input(description="A new account.")
class SignUpInput:
    email: str = strawberry.field(description="The address to log in with, 3 to 255 characters.")
    password: str = strawberry.field(description="8 to 128 characters.")
    first_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="The given name, up to 100 characters."
    )
    last_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="The family name, up to 100 characters."
    )


@strawberry.input(description="Who one is.")
class LogInInput:
    email: str = strawberry.field(description="The address of the account, in any case.")
    password: str = strawberry.field(description="The password.")


@strawberry.input(description="What keeps a session going.")
class RefreshSessionInput:
    refresh_token: str = strawberry.field(description="The refresh token that was handed out last. It works once.")


@strawberry.input(description="Which session ends.")
class LogOutInput:
    refresh_token: str | None = strawberry.field(
        default=strawberry.UNSET, description="One of the session's; the session of the request itself if not given."
    )


@strawberry.input(description="A change of the viewer's password.")
class ChangePasswordInput:
    old_password: str = strawberry.field(description="The password until now.")
    new_password: str = strawberry.field(description="8 to 128 characters.")


@strawberry.type(description="A session that has begun, or goes on.")
class SessionPayload:
    access_token: str = public("To send with each request, in the header `Authorization: Bearer …`.")
    expires_in: int = public("How many seconds the access token is good for.")
    refresh_token: str = public(
        "For `refreshSession`, which takes it once and answers with the next. One that is used twice ends the session."
    )

    user: User | None = own(reads.user_by_id, PUBLIC, "Whose session it is.")


@strawberry.type(description="The end of a session.")
class LogOutPayload:
    logged_out: bool = public("True: the session has ended, now or before.")


def _takes(description: str) -> Any:  # Any, as strawberry.argument() itself has it
    """The one argument of a mutation. ``input`` is a name of Python's."""
    return strawberry.argument(name="input", description=description)


def _mutation(description: str, visible_to: Visibility = PUBLIC) -> Any:
    return strawberry.mutation(description=description, metadata={"visible_to": visible_to})


@strawberry.type
class UsersMutation:
    @_mutation("Open an account and begin a session. CONFLICT where the address has one already.")
    async def sign_up(self, info: Info, given: Annotated[SignUpInput, _takes("The account.")]) -> SessionPayload | None:
        context = info.context
        tokens = await context.services.identity.sign_up(
            given.email, given.password, given.first_name or None, given.last_name or None, context.address
        )
        return _begun(info, tokens)

    @_mutation(
        "Begin a session. UNAUTHENTICATED where address or password are wrong; RATE_LIMITED after too many of those."
    )
    async def log_in(self, info: Info, given: Annotated[LogInInput, _takes("Who one is.")]) -> SessionPayload | None:
        context = info.context
        return _begun(info, await context.services.identity.log_in(given.email, given.password, context.address))

    @_mutation("Get the next tokens of a session. UNAUTHENTICATED where it has ended.")
    async def refresh_session(
        self, info: Info, given: Annotated[RefreshSessionInput, _takes("The session.")]
    ) -> SessionPayload | None:
        return _begun(info, await info.context.services.identity.refresh(given.refresh_token))

    @_mutation("End a session.")
    async def log_out(self, info: Info, given: Annotated[LogOutInput, _takes("The session.")]) -> LogOutPayload | None:
        context = info.context
        await context.services.identity.log_out(context.viewer, given.refresh_token or None)
        if not given.refresh_token:
            context.become(NOBODY)
        return LogOutPayload(logged_out=True)

    @_mutation("Change the viewer's password. All sessions of the account end, and a new one begins.", OWNER)
    async def change_password(
        self, info: Info, given: Annotated[ChangePasswordInput, _takes("The two passwords.")]
    ) -> SessionPayload | None:
        context = info.context
        check_visible(OWNER, context.viewer)
        tokens = await context.services.identity.change_password(
            context.viewer, given.old_password, given.new_password, context.address
        )
        return _begun(info, tokens)


def _begun(info: Info, tokens: Tokens) -> SessionPayload:
    """What a session begins with. The rest of the operation is the new viewer's, and reads what was written."""
    info.context.become(tokens.viewer)
    return cast("SessionPayload", tokens)  # which has its fields; ``user`` is an edge
