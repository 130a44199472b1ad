"""Login by OpenID Connect, against a real provider: who gets in as what, and which answers of a provider fail."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from halter.console.settings import Oidc
from tests.support.consoles import SETTINGS, Served, served
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, provider

EVE = {"sub": "u-eve", "email": "eve@example.com", "email_verified": True}


@pytest.fixture(scope="module")
def at() -> Iterator[Provider]:
    with provider() as it:
        yield it


@pytest.fixture(scope="module")
def console(at: Provider) -> Iterator[Served]:
    oidc = Oidc(at.issuer, CLIENT_ID, CLIENT_SECRET)
    operators = frozenset({"eve@example.com", "u-ops"})
    with served(replace(SETTINGS, oidc=oidc, operators=operators, operator_groups=frozenset({"on-call"}))) as it:
        yield it


@pytest.fixture(autouse=True)
def _as_it_was(at: Provider) -> Iterator[None]:
    yield
    at.user, at.forge, at.signs_with = {"sub": "u-1"}, lambda claims: claims, None


def sent_back(client: httpx.Client, target: str = "/") -> str:
    """Go to the provider as a browser does, and return the address to which it sends the browser back."""
    to_provider = client.get("/login/oidc", params={"next": target})
    assert to_provider.status_code == 302, to_provider.text
    back = httpx.get(to_provider.headers["location"], verify=False, trust_env=False)
    assert back.status_code == 302
    return str(back.headers["location"])


def me(client: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/api/me").json()
    return answer


@pytest.mark.parametrize(
    ("user", "name", "role"),
    [
        (EVE, "eve@example.com", "operator"),
        ({"sub": "u-ops"}, "u-ops", "operator"),
        ({"sub": "u-1", "groups": ["on-call", "staff"]}, "u-1", "operator"),
        ({"sub": "u-1", "groups": ["staff"]}, "u-1", "reader"),
        ({"sub": "u-1", "groups": "on-call"}, "u-1", "reader"),
        # What a user can choose makes nobody an operator.
        ({"sub": "u-1", "email": "eve@example.com"}, "u-1", "reader"),
        ({"sub": "u-1", "email": "eve@example.com", "email_verified": False}, "u-1", "reader"),
        ({"sub": "u-1", "email": "eve@example.com", "email_verified": "true"}, "u-1", "reader"),
        ({"sub": "u-1", "preferred_username": "u-ops", "name": "eve@example.com"}, "u-1", "reader"),
    ],
)
def test_who_logs_in_is_known_by_what_the_provider_vouches_for(
    at: Provider, console: Served, user: dict[str, Any], name: str, role: str
) -> None:
    at.user = user
    client = console.client()
    answer = client.get(sent_back(client, "/wf-runs?status=HALTED"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/wf-runs?status=HALTED")
    assert (me(client)["name"], me(client)["role"], me(client)["way"]) == (name, role, "oidc")


def test_a_browser_is_sent_with_state_nonce_and_a_challenge(at: Provider, console: Served) -> None:
    sent_back(console.client())
    sent_back(console.client())
    first, second = at.authorizations[-2:]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 20
        assert first[name] != second[name], "each attempt has its own"
    assert first["code_challenge_method"] == "S256"
    assert first["redirect_uri"] == f"{console.url}/login/callback"


def test_an_answer_counts_once(console: Served) -> None:
    client = console.client()
    back = sent_back(client)
    kept = dict(client.cookies)
    assert client.get(back).status_code == 303
    again = console.client()
    for name, value in kept.items():
        again.cookies.set(name, value, domain="127.0.0.1", path="/login")
    assert again.get(back).status_code == 403, "state and code were used"
    assert me(again)["code"] == "LOGIN"


def test_an_answer_to_another_browsers_attempt_fails(console: Served) -> None:
    """Login CSRF: an attacker has a victim's browser end the attacker's attempt."""
    attacker, victim = console.client(), console.client()
    back = sent_back(attacker)
    sent_back(victim)
    assert victim.get(back).status_code == 403
    assert me(victim)["code"] == "LOGIN"


@pytest.mark.parametrize("change", ["state", "code", "no state", "no code", "error"])
def test_an_answer_that_was_changed_fails(console: Served, change: str) -> None:
    client = console.client()
    query = {name: values[0] for name, values in parse_qs(urlsplit(sent_back(client)).query).items()}
    match change:
        case "error":
            query = {
                "error": "access_denied",
                "error_description": "<script>alert(1)</script>",
                "state": query["state"],
            }
        case "no state" | "no code":
            del query[change.removeprefix("no ")]
        case _:
            query[change] = "x" + query[change]
    answer = client.get("/login/callback", params=query)
    assert answer.status_code == 403
    assert "<script>alert" not in answer.text
    assert me(client)["code"] == "LOGIN"


def changed(**claims: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda before: {name: it for name, it in {**before, **claims}.items() if it is not None}


@pytest.mark.parametrize(
    "forge",
    [
        changed(nonce="that of another attempt"),
        changed(nonce=None),
        changed(aud="another client"),
        changed(aud=None),
        changed(iss="https://evil.example.com"),
        changed(iss=None),
        changed(exp=int(time.time()) - 3600),
        changed(exp=None),
        changed(sub=None),
    ],
    ids=["nonce", "no nonce", "audience", "no audience", "issuer", "no issuer", "expired", "no expiry", "no subject"],
)
def test_a_token_that_was_made_for_something_else_fails(
    at: Provider, console: Served, forge: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    at.forge = forge
    client = console.client()
    assert client.get(sent_back(client)).status_code == 403
    assert me(client)["code"] == "LOGIN"


def test_a_token_that_another_key_has_signed_fails(at: Provider, console: Served) -> None:
    at.signs_with = RSAKey.generate_key(2048, {"kid": "k1"})
    client = console.client()
    assert client.get(sent_back(client)).status_code == 403
    assert me(client)["code"] == "LOGIN"


def test_a_provider_that_does_not_answer_is_said_on_the_page() -> None:
    oidc = Oidc("http://127.0.0.1:1", CLIENT_ID, CLIENT_SECRET)
    with served(replace(SETTINGS, oidc=oidc)) as console:
        answer = console.client().get("/login/oidc")
    assert answer.status_code == 503
    assert "http://127.0.0.1:1 does not answer" in answer.text
