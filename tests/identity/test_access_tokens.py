"""Access tokens: ours are read back, and whatever else is sent is refused with one text that says what to do."""

import base64
import hashlib
import hmac
import json
from time import time
from typing import Any
from unittest.mock import MagicMock
from uuid import uuid4

import jwt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from pydantic import SecretStr

from app.errors import UnauthenticatedError
from app.identity.access_tokens import AccessTokens
from app.identity.sessions import Identity
from app.settings import Settings
from app.viewer import NOBODY, Role, Viewer
from tests.identity.conftest import SECRET

TOKENS = AccessTokens(SECRET, 900)
ANN = Viewer(str(uuid4()), str(uuid4()), "admin")
JWT: Any = jwt.PyJWT()
REFUSED = r"^This access token is not valid, or no longer: refresh the session, without this header, or log in again\.$"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token, with changes; what is changed to ... is left out."""
    now = int(time())
    good = {"iss": "storegraph", "aud": "storegraph", "sub": ANN.user, "sid": ANN.session, "role": "admin"}
    changed = good | {"iat": now, "exp": now + 60} | changes
    return {name: value for name, value in changed.items() if value is not ...}


def signed(payload: object, header: object = None, key: str = SECRET) -> str:
    """Any JSON as a token with a right signature, made without the library."""
    header = {"alg": "HS256", "typ": "at+jwt"} if header is None else header
    content = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(payload).encode())}"
    return f"{content}.{encoded(hmac.digest(key.encode(), content.encode(), hashlib.sha256))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def is_refused(token: str) -> bool:
    with pytest.raises(UnauthenticatedError, match=REFUSED):
        TOKENS.read(token)
    return True


@given(st.uuids(), st.uuids(), st.sampled_from(["customer", "support", "admin"]))
def test_a_token_says_who_it_was_made_for(user: object, session: object, role: Role) -> None:
    viewer = Viewer(str(user), str(session), role)
    assert TOKENS.read(TOKENS.issue(viewer)) == viewer


def test_a_token_made_by_hand_after_the_description_is_good() -> None:
    assert TOKENS.read(signed(claims())) == ANN


def test_a_token_that_was_read_before_expires_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed(claims())
    assert TOKENS.read(token) == TOKENS.read(token) == ANN
    expired = time() + 60
    monkeypatch.setattr("app.identity.access_tokens.time", lambda: expired)
    with pytest.raises(UnauthenticatedError, match=REFUSED):
        TOKENS.read(token[:-1])  # refused also for its signature: what is known of another is not asked
    monkeypatch.setattr("jwt.api_jwt.datetime", MagicMock(**{"now.return_value.timestamp.return_value": expired}))
    with pytest.raises(UnauthenticatedError, match=REFUSED):
        TOKENS.read(token)


def test_tokens_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.identity.access_tokens._KEPT", 3)
    tokens = AccessTokens(SECRET, 900)
    for number in range(5):
        assert tokens.read(signed(claims(iat=number))) == ANN
    assert len(tokens._known) == 3  # pyright: ignore[reportPrivateUsage]


def test_a_token_of_a_process_whose_clock_is_ahead_is_good() -> None:
    assert TOKENS.read(signed(claims(iat=int(time()) + 30))) == ANN


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "sid", "role", "iat", "exp"])
def test_every_claim_is_required(name: str) -> None:
    assert is_refused(signed(claims(**{name: ...})))
    assert is_refused(signed(claims(**{name: None})))


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "somebody else"},
        {"aud": "something else"},
        {"sub": "not a uuid"},
        {"sid": 17},
        {"role": "root"},
        {"role": ["admin"]},
        {"exp": 1_700_000_000},
        {"exp": "soon"},
        {"nbf": 4_000_000_000},
    ],
    ids=str,
)
def test_every_claim_is_checked(wrong: dict[str, Any]) -> None:
    assert is_refused(signed(claims(**wrong)))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "typ": "JWT"},
        {"alg": "HS256"},
        {"alg": "HS256", "typ": ["at+jwt"]},
        {"alg": "HS512", "typ": "at+jwt"},
        {"alg": "none", "typ": "at+jwt"},
        {"alg": "RS256", "typ": "at+jwt"},
        {"alg": ["HS256"], "typ": "at+jwt"},
        {"alg": None, "typ": "at+jwt"},
        {"alg": "HS256", "typ": "at+jwt", "crit": ["x"], "x": 1},
        {"alg": "HS256", "typ": "at+jwt", "b64": False, "crit": ["b64"]},
        {"alg": "HS256", "typ": "at+jwt", "kid": 5},
        {},
        [],
        "HS256",
    ],
    ids=str,
)
def test_no_token_chooses_how_it_is_read(header: object) -> None:
    assert is_refused(signed(claims(), header))


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_other_algorithms_of_the_library_are_refused(algorithm: str) -> None:
    key = None if algorithm == "none" else SECRET * 2
    assert is_refused(JWT.encode(claims(), key, algorithm=algorithm, headers={"typ": "at+jwt"}))
    unsigned = signed(claims()).rpartition(".")[0]
    assert is_refused(f"{unsigned}.")


def test_another_secret_is_refused() -> None:
    assert is_refused(signed(claims(), key=SECRET + "x"))


@given(st.data())
def test_a_token_with_one_other_bit_is_refused(data: st.DataObject) -> None:
    parts = [bytearray(decoded(part)) for part in signed(claims()).split(".")]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert is_refused(".".join(encoded(bytes(part)) for part in parts))


@given(json_values)
def test_signed_payloads_of_whatever_kind_are_refused(payload: object) -> None:
    assert is_refused(signed(payload))


@given(st.sampled_from(sorted(claims())), json_values)
def test_signed_claims_of_whatever_kind_never_break_the_reader(name: str, value: object) -> None:
    try:
        viewer = TOKENS.read(signed(claims(**{name: value})))
    except UnauthenticatedError:
        return
    assert viewer == ANN


@given(json_values)
def test_headers_of_whatever_kind_are_refused(header: object) -> None:
    assert is_refused(signed(claims(), header if header is not None else 0))


@given(st.text() | st.binary(max_size=200).map(lambda data: f"{encoded(data)}.{encoded(data)}.{encoded(data)}"))
def test_text_of_whatever_kind_is_refused(token: str) -> None:
    assert is_refused(token)


@pytest.mark.parametrize("brackets", [500, 1400, 20_000])
def test_deep_json_is_refused(brackets: int) -> None:
    nested = encoded(b"[" * brackets)
    assert is_refused(f"{nested}.e30.e30")
    content = f"{signed({}).partition('.')[0]}.{nested}"
    assert is_refused(f"{content}.{encoded(hmac.digest(SECRET.encode(), content.encode(), hashlib.sha256))}")


@pytest.fixture
def identity(settings: Settings) -> Identity:
    return Identity(MagicMock(), settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))


def test_no_header_is_nobody(identity: Identity) -> None:
    assert identity.viewer_of(None) == NOBODY


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", " Bearer ", "Bearer   "])
def test_the_scheme_in_any_case(identity: Identity, scheme: str) -> None:
    assert identity.viewer_of(f"{scheme} {TOKENS.issue(ANN)}") == ANN


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer\ta", "Token a", "Bearer é", "Beareré a"]
)
def test_anything_else_is_told_what_to_send(identity: Identity, header: str) -> None:
    with pytest.raises(UnauthenticatedError, match=r"Authorization: Bearer eyJ"):
        identity.viewer_of(header)


def test_a_token_without_a_scheme_is_told_what_to_send(identity: Identity) -> None:
    with pytest.raises(UnauthenticatedError, match=r"Authorization: Bearer eyJ"):
        identity.viewer_of(TOKENS.issue(ANN))


@settings_of_hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it keeps nothing
@given(text=st.text(st.characters(codec="latin-1")))
def test_whatever_a_header_can_hold_is_refused(identity: Identity, text: str) -> None:
    for header in (text, f"Bearer {text}"):
        with pytest.raises(UnauthenticatedError):
            identity.viewer_of(header)
