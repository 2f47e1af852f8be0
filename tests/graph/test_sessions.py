"""Signing up, in and out by the API: the tokens it hands out open what they should, and for as long as they should."""

import pytest

from app.errors import UnauthenticatedError
from app.viewer import NOBODY, Viewer
from tests.factories import Make
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"
TOKENS = "accessToken refreshToken expiresIn user { email role orders { totalCount } }"
SIGN_UP = f"mutation($i: SignUpInput!) {{ signUp(input: $i) {{ {TOKENS} }} }}"
LOG_IN = f"mutation($i: LogInInput!) {{ logIn(input: $i) {{ {TOKENS} }} }}"
REFRESH = f"mutation($i: RefreshSessionInput!) {{ refreshSession(input: $i) {{ {TOKENS} }} }}"
LOG_OUT = "mutation($i: LogOutInput!) { logOut(input: $i) { loggedOut } }"
CHANGE = f"mutation($i: ChangePasswordInput!) {{ changePassword(input: $i) {{ {TOKENS} }} }}"
ACCOUNT = {"email": "Ada@example.com", "password": PASSWORD}


@pytest.fixture
def anybody(gateway: Gateway) -> Gateway:
    """The gateway, asked by nobody."""
    gateway.viewer = NOBODY
    return gateway


def viewer_of(gateway: Gateway, access_token: str) -> Viewer:
    return gateway.services.identity.viewer_of(f"Bearer {access_token}")


async def test_from_sign_up_to_log_out(anybody: Gateway) -> None:
    begun = (await anybody.ask(SIGN_UP, i=ACCOUNT | {"firstName": "Ada"}))["signUp"]
    assert begun["user"] == {"email": "Ada@example.com", "role": "CUSTOMER", "orders": {"totalCount": 0}}
    assert begun["expiresIn"] == 900
    viewer = viewer_of(anybody, begun["accessToken"])
    assert await anybody.ask("{ viewer { firstName } }", viewer=viewer) == {"viewer": {"firstName": "Ada"}}

    again = (await anybody.ask(LOG_IN, i=ACCOUNT | {"email": "ADA@example.com"}))["logIn"]
    assert again["user"]["email"] == "Ada@example.com"
    following = (await anybody.ask(REFRESH, i={"refreshToken": again["refreshToken"]}))["refreshSession"]
    assert viewer_of(anybody, following["accessToken"]).session == viewer_of(anybody, again["accessToken"]).session

    assert await anybody.ask(LOG_OUT, viewer=viewer, i={}) == {"logOut": {"loggedOut": True}}
    with pytest.raises(UnauthenticatedError):
        viewer_of(anybody, begun["accessToken"])
    assert await anybody.ask(LOG_OUT, i={"refreshToken": following["refreshToken"]}) == {"logOut": {"loggedOut": True}}
    with pytest.raises(UnauthenticatedError):
        viewer_of(anybody, again["accessToken"])


async def test_what_is_wrong_is_null_with_its_code(anybody: Gateway) -> None:
    await anybody.ask(SIGN_UP, i=ACCOUNT)
    for query, given, code in (
        (SIGN_UP, ACCOUNT, "CONFLICT"),
        (SIGN_UP, {"email": "no address", "password": PASSWORD}, "BAD_USER_INPUT"),
        (SIGN_UP, {"email": "b@example.com", "password": "short"}, "BAD_USER_INPUT"),
        (LOG_IN, ACCOUNT | {"password": "wrong horse"}, "UNAUTHENTICATED"),
        (LOG_IN, ACCOUNT | {"email": "nobody@example.com"}, "UNAUTHENTICATED"),
        (REFRESH, {"refreshToken": "x"}, "UNAUTHENTICATED"),
        (LOG_OUT, {}, "UNAUTHENTICATED"),
        (CHANGE, {"oldPassword": PASSWORD, "newPassword": "another horse"}, "UNAUTHENTICATED"),
    ):
        data, errors = await anybody.refuse(query, i=given)
        assert data is not None
        assert list(data.values()) == [None]
        assert [code for _, code, _ in errors] == [code]


async def test_a_changed_password_ends_the_other_sessions(anybody: Gateway) -> None:
    first = (await anybody.ask(SIGN_UP, i=ACCOUNT))["signUp"]
    second = viewer_of(anybody, (await anybody.ask(LOG_IN, i=ACCOUNT))["logIn"]["accessToken"])
    new = {"oldPassword": PASSWORD, "newPassword": "another horse"}
    changed = (await anybody.ask(CHANGE, viewer=second, i=new))["changePassword"]
    assert viewer_of(anybody, changed["accessToken"]).user == second.user
    with pytest.raises(UnauthenticatedError):
        viewer_of(anybody, first["accessToken"])
    _, errors = await anybody.refuse(LOG_IN, i=ACCOUNT)
    assert [code for _, code, _ in errors] == ["UNAUTHENTICATED"]
    await anybody.ask(LOG_IN, i=ACCOUNT | {"password": "another horse"})


async def test_a_failed_mutation_costs_itself_and_not_those_beside_it(anybody: Gateway) -> None:
    await anybody.ask(SIGN_UP, i=ACCOUNT)
    data, errors = await anybody.refuse(
        'mutation($i: LogInInput!) { bad: refreshSession(input: {refreshToken: "x"}) { expiresIn } '
        "logIn(input: $i) { user { email } } }",
        i=ACCOUNT,
    )
    assert data == {"bad": None, "logIn": {"user": {"email": "Ada@example.com"}}}
    assert [(path, code) for path, code, _ in errors] == [(["bad"], "UNAUTHENTICATED")]


async def test_one_password_an_operation(anybody: Gateway) -> None:
    """Each costs a tenth of a second, and a guess."""
    query = 'mutation { a: logIn(input: {email: "a@b.c", password: "x"}) { expiresIn } %s }'
    data, errors = await anybody.refuse(query % 'b: logIn(input: {email: "a@b.c", password: "y"}) { expiresIn }')
    assert data is None
    assert [code for _, code, _ in errors] == ["LIMIT_EXCEEDED"]
    assert anybody.statements == []


async def test_after_a_write_the_operation_reads_anew(anybody: Gateway, make: Make) -> None:
    """And as whoever is signed in from then on."""
    await anybody.ask(SIGN_UP, i=ACCOUNT)
    other = await make.user(email="other@example.com")
    viewer = Viewer(str(other["id"]), str(other["id"]), "customer")
    found = await anybody.ask(LOG_IN, viewer=viewer, i=ACCOUNT)
    assert found["logIn"]["user"]["email"] == "Ada@example.com"


async def test_without_a_secret_nobody_signs_in(gateway: Gateway) -> None:
    gateway = gateway.limited(jwt_secret=None)
    for query, given in ((SIGN_UP, ACCOUNT), (LOG_IN, ACCOUNT), (REFRESH, {"refreshToken": "x"})):
        _, errors = await gateway.refuse(query, viewer=NOBODY, i=given)
        assert [(code, message) for _, code, message in errors] == [("FORBIDDEN", "Signing in is off here.")]
    assert await gateway.ask("{ viewer { email } products { totalCount } }", viewer=NOBODY) == {
        "viewer": None,
        "products": {"totalCount": 0},
    }
