"""Attempts that must fail, each against a console that is served: docs/console-security.md has them as a table.

What is refused has no effect: no command reaches the engine, and no session begins.
"""

import http.client
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import NamedTuple

import httpx
import pytest
from itsdangerous import URLSafeTimedSerializer
from starlette.responses import Response

from halter.console.login_sessions import ENDED_OF_USER_MAX, Sessions
from halter.console.settings import Bounds, ProxyLogin, networks
from halter.console.users import Role, Way
from tests.support.consoles import OPERATOR, READER, SETTINGS, EngineSender, Served, of_engine, served
from tests.support.views import shop
from tests.support.waiting import wait_until

BOUNDS = Bounds(
    body_bytes=64 * 1024,
    head_s=0.5,
    body_s=0.5,
    send_s=0.5,
    logins=5,
    connections=40,
    live_clients=4,
    live_clients_of_address=3,
    live_heartbeat_s=0.2,
)
STOP = {"fields": {"wf_run_id": "cart-waits"}}
JSON = "application/json"
FORM = "/wf-runs/cart-waits/act/stop?thread=1"


class Under(NamedTuple):
    """A console that is attacked."""

    console: Served
    sender: EngineSender


@pytest.fixture(scope="module")
def under() -> Iterator[Under]:
    login = replace(SETTINGS, reader_token=READER, operator_token=OPERATOR, allow_actions=True, bounds=BOUNDS)
    settings, sender = of_engine(shop(), login)
    with served(settings) as console:
        yield Under(console, sender)


@pytest.fixture(autouse=True)
def _nothing_is_sent(under: Under) -> Iterator[None]:
    before = len(under.sender.sent)
    yield
    assert len(under.sender.sent) == before, "the engine got a command"


def csrf_of(client: httpx.Client) -> str:
    return str(client.get("/api/me").json()["csrf"])


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """Expect a refusal: a page for a browser, with the way on, and JSON for programs."""
    if answer.headers["content-type"].startswith("text/html"):
        assert (answer.status_code, f"<code>{status} {code}</code>" in answer.text) == (status, True), answer.text
        assert 'href="' in answer.text.partition("<main")[2], "no way on"
    else:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


# What nobody types.


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/wf-runs/cart-waits/events/{'9' * 5_000}", 404),
        (f"/dead-letters/0/{'9' * 5_000}", 404),
        (f"/dead-letters/{'9' * 5_000}/0/act/retry", 404),
        (f"/api/wf-run/state?wf_run_id=cart-waits&at={'9' * 5_000}", 404),
        (f"/api/wf-run/state?wf_run_id=cart-waits&at=-{'9' * 5_000}", 404),
        (f"/api/wf-run/why?wf_run_id=cart-waits&at={'9' * 5_000}", 404),
        (f"/api/wf-run/cause?wf_run_id=cart-waits&seq={'9' * 5_000}", 400),
        (f"/api/dead-letter?partition=0&offset={'9' * 5_000}", 400),
    ],
)
def test_a_number_with_thousands_of_digits_is_no_error_of_ours(under: Under, path: str, status: int) -> None:
    answer = under.console.logged_in().get(path)
    assert answer.status_code == status, answer.text[:1_000]


@pytest.mark.parametrize("path", ["/login", "/logout", "/wf-runs/cart-waits/act/stop"])
def test_a_form_with_thousands_of_fields_is_refused(under: Under, path: str) -> None:
    fields = {f"field-{number}": "x" for number in range(1_100)}
    answer = under.console.logged_in().post(path, data=fields)
    assert answer.status_code == 400
    assert "expected a form of at most 40 fields" in answer.text


# Who asks.


@pytest.mark.parametrize("path", ["/api/me", "/api/wf-run/state?wf_run_id=cart-waits", "/live", "/api/openapi.json"])
def test_without_a_login_programs_get_nothing(under: Under, path: str) -> None:
    refused(under.console.client().get(path), 401, "LOGIN")


@pytest.mark.parametrize("path", ["/", "/wf-runs?status=HALTED"])
def test_without_a_login_a_browser_is_led_to_it_and_back(under: Under, path: str) -> None:
    answer = under.console.client().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=%2F")


@pytest.mark.parametrize(
    ("code", "ways"),
    [
        ("LOGIN", ("/login?next=%2Fwf-runs%2Fcart-waits%2Fact%2Fstop%3Fthread%3D1", FORM)),
        ("CSRF", (FORM, "/")),
        ("TOO_LARGE", (FORM, "/")),
        ("HOST", ("http://127.0.0.1:",)),
    ],
)
def test_whoever_is_refused_in_a_browser_reads_why_and_finds_the_way_on(
    under: Under, code: str, ways: tuple[str, ...]
) -> None:
    """A session that has ended while a form was filled, a form of an earlier login, one that is too large."""
    browser = under.console.client() if code == "LOGIN" else under.console.logged_in()
    browser.headers["Referer"] = under.console.url + FORM
    fields = {"reason": "x" * BOUNDS.body_bytes if code == "TOO_LARGE" else "", "step": "send"}
    host = {"Host": "evil.example.com"} if code == "HOST" else {}
    answer = browser.post(FORM.partition("?")[0], data=fields, headers=host)
    assert f" {code}</code>" in answer.text
    assert ("Nothing was done" in answer.text, 'id="kept" hidden' in answer.text) == (True, True)
    for way in ways:
        assert f'href="{way}' in answer.text.partition("<main")[2]
    browser.headers["Referer"] = "https://evil.example.com/wf-runs/cart-waits/act/stop"
    assert "Back to the form" not in browser.post(FORM.partition("?")[0], data=fields, headers=host).text


def test_a_post_without_a_login_is_refused(under: Under) -> None:
    refused(under.console.client().post("/api/actions/stop", json=STOP), 401, "LOGIN")


@pytest.mark.parametrize(
    "authorization",
    ["Bearer wrong-token-0123456789", "Bearer", "Bearer  x", f"Basic {OPERATOR}", f"Bearer {OPERATOR}x", "Bearer \xe9"],
)
def test_a_wrong_token_is_refused(under: Under, authorization: str) -> None:
    with served(replace(under.console.settings, bounds=Bounds())) as fresh:
        headers = {"Authorization": authorization.encode("latin-1")}
        refused(fresh.client(headers=headers).get("/api/me"), 401, "TOKEN")  # type: ignore[arg-type]


def test_a_wrong_token_at_the_login_begins_no_session(under: Under) -> None:
    with served(replace(under.console.settings, bounds=Bounds())) as fresh:
        answer = fresh.client().post("/login", data={"token": "wrong-token-0123456789"})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        answer = fresh.client().get(f"/login?token={OPERATOR}")
        assert answer.status_code == 200, "a link logs in with the start-up token only"
        assert "set-cookie" not in answer.headers


def test_guessing_tokens_ends_after_a_few(under: Under) -> None:
    with served(under.console.settings) as fresh, fresh.client() as client:
        statuses = [client.post("/login", data={"token": f"guess-{number}"}).status_code for number in range(8)]
        assert statuses == [403] * 5 + [429] * 3
        refused(client.get("/api/me", headers={"Authorization": f"Bearer {OPERATOR}"}), 429, "TOO_MANY_LOGINS")


def test_a_reader_does_not_act(under: Under) -> None:
    reader = under.console.logged_in(READER)
    answer = reader.post("/api/actions/stop", json=STOP, headers={"X-CSRF-Token": csrf_of(reader)})
    refused(answer, 403, "ROLE")
    bearer = under.console.client(headers={"Authorization": f"Bearer {READER}"})
    refused(bearer.post("/api/actions/stop", json=STOP), 403, "ROLE")


def test_a_reader_does_not_see_masked_values(under: Under) -> None:
    reader = under.console.client(headers={"Authorization": f"Bearer {READER}"})
    masked = reader.get("/api/wf-run/state?wf_run_id=cart-waits")
    assert masked.status_code == 200
    assert "4111111111111111" not in masked.text
    refused(reader.get("/api/wf-run/state?wf_run_id=cart-waits&unmask=1"), 403, "ROLE")
    operator = under.console.client(headers={"Authorization": f"Bearer {OPERATOR}"})
    assert "4111111111111111" in operator.get("/api/wf-run/state?wf_run_id=cart-waits&unmask=1").text


def test_nobody_acts_on_a_console_that_is_read_only() -> None:
    settings, sender = of_engine(shop(), replace(SETTINGS, operator_token=OPERATOR))
    with served(settings) as console:
        operator = console.client(headers={"Authorization": f"Bearer {OPERATOR}"})
        refused(operator.post("/api/actions/stop", json=STOP), 403, "READ_ONLY")
    assert sender.sent == []


def test_without_the_start_up_token_nobody_acts_on_loopback() -> None:
    settings, sender = of_engine(shop(), replace(SETTINGS, allow_actions=True))
    with served(settings) as console:
        anybody = console.client()
        assert anybody.get("/api/me").json()["may_act"] is False
        refused(anybody.post("/api/actions/stop", json=STOP), 403, "CSRF")
        assert anybody.get("/login?token=wrong").status_code == 403
        assert anybody.get(f"/login?token={settings.start_up_token}").status_code == 303
        assert anybody.get("/api/me").json()["may_act"] is True
    assert sender.sent == []


# Other sites.


@pytest.mark.parametrize("token", [None, "", "wrong", "\xe9"])
def test_a_post_without_the_csrf_token_of_its_session_is_refused(under: Under, token: str | None) -> None:
    operator = under.console.logged_in()
    headers = {} if token is None else {"X-CSRF-Token": token.encode("latin-1")}
    refused(operator.post("/api/actions/stop", json=STOP, headers=headers), 403, "CSRF")
    fields = {"wf_run_id": "cart-waits", **({} if token is None else {"csrf": token})}
    refused(operator.post("/logout", data=fields, headers={"Accept": JSON}), 403, "CSRF")


def test_the_csrf_token_of_another_session_is_refused(under: Under) -> None:
    other, operator = under.console.logged_in(), under.console.logged_in()
    headers = {"X-CSRF-Token": csrf_of(other)}
    refused(operator.post("/api/actions/stop", json=STOP, headers=headers), 403, "CSRF")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "https://evil.example.com"}, "ORIGIN"),
        ({"Origin": "null"}, "ORIGIN"),
        ({"Origin": ""}, "ORIGIN"),
        ({"Origin": "http://127.0.0.1"}, "ORIGIN"),
        ({"Sec-Fetch-Site": "cross-site"}, "ORIGIN"),
        ({"Sec-Fetch-Site": "same-site"}, "ORIGIN"),
    ],
)
def test_a_post_from_another_origin_is_refused(under: Under, headers: dict[str, str], code: str) -> None:
    operator = under.console.logged_in()
    own = {"X-CSRF-Token": csrf_of(operator)}
    refused(operator.post("/api/actions/stop", json=STOP, headers={**own, **headers}), 403, code)
    refused(under.console.client().post("/login", data={"token": OPERATOR}, headers=headers), 403, code)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    "kind",
    [{}, {"Mode": "no-cors", "Dest": "image"}, {"Mode": "navigate", "Dest": "iframe"}],
    ids=["", "image", "frame"],
)
def test_another_site_loads_no_page_of_ours(under: Under, site: str, kind: dict[str, str]) -> None:
    headers = {f"Sec-Fetch-{name}": value for name, value in {"Site": site, **kind}.items()}
    refused(under.console.client(headers=headers).get("/login"), 403, "ORIGIN")
    assert under.console.client(headers=headers).head("/").status_code == 403


LED_HERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_another_site_leads_to_a_page_but_not_so_often_that_its_user_is_locked_out() -> None:
    bounds = replace(BOUNDS, requests=20)
    settings, _ = of_engine(shop(), replace(SETTINGS, allow_actions=True, bounds=bounds))
    with served(settings) as console, console.client() as user:
        led = [user.get("/login?token=guess", headers=LED_HERE).status_code for _ in range(8)]
        assert led == [403] * 5 + [429] * 3, "as often as anybody"
        loaded = [user.get("/login?token=x", headers={**LED_HERE, "Sec-Fetch-Dest": "image"}) for _ in range(30)]
        assert {it.status_code for it in loaded} == {403}
        assert user.get(f"/login?token={console.settings.start_up_token}").status_code == 303


def test_a_post_of_a_browser_says_where_it_comes_from(under: Under) -> None:
    operator = under.console.logged_in()
    own = {"X-CSRF-Token": csrf_of(operator)}
    del operator.headers["Origin"]
    refused(operator.post("/api/actions/stop", json=STOP, headers=own), 403, "ORIGIN")


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.example.com", "", "localhost", "127.0.0.1:1"])
def test_a_name_that_leads_here_is_no_name_of_ours(under: Under, host: str) -> None:
    """DNS rebinding: a page of evil.example.com whose name leads to this machine."""
    refused(under.console.client(headers={"Host": host}).get("/login"), 421, "HOST")


# What a proxy may say.


def test_a_forged_proxy_header_makes_nobody_a_user() -> None:
    proxy = ProxyLogin("X-Forwarded-User", "X-Forwarded-Groups")
    settings, _ = of_engine(shop(), replace(SETTINGS, proxy_login=proxy, operators=frozenset({"eve"})))
    forged = {"X-Forwarded-User": "eve", "X-Forwarded-For": "10.9.9.9", "X-Forwarded-Groups": "admins"}
    with served(replace(settings, trusted_proxies=networks(["10.9.9.9"]))) as console:
        refused(console.client(headers=forged).get("/api/me"), 401, "LOGIN")
    with served(replace(settings, trusted_proxies=networks(["127.0.0.1"]))) as console:
        assert console.client(headers=forged).get("/api/me").json()["role"] == "operator"
        twice = [("X-Forwarded-User", "ann"), ("X-Forwarded-User", "eve")]
        refused(console.client(headers=twice).get("/api/me"), 401, "LOGIN")
        groups_twice = [("X-Forwarded-User", "ann"), ("X-Forwarded-Groups", "admins"), ("X-Forwarded-Groups", "staff")]
        refused(console.client(headers=groups_twice).get("/api/me"), 401, "LOGIN")


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X-Forwarded-For", "X-Real-IP"])
def test_a_proxy_on_this_machine_makes_nobody_one_who_is_on_it(header: str) -> None:
    """It writes the host that it asks, as nginx does unless it is told otherwise."""
    settings, sender = of_engine(shop(), replace(SETTINGS, allow_actions=True))
    with served(settings) as console:
        stranger = console.client(headers={header: "for=203.0.113.7"})
        for path in ("/", "/wf-runs/cart-waits", "/api/wf-runs", "/live"):
            refused(stranger.get(path), 403, "PROXY")
        assert "cart-waits" not in stranger.get("/wf-runs/cart-waits").text
        assert stranger.get("/login").status_code == 200
        assert stranger.get(f"/login?token={settings.start_up_token}").status_code == 303
        assert stranger.get("/api/me").json()["may_act"] is True, "whoever has the start-up token has shown it"
    assert sender.sent == []


@pytest.mark.parametrize(
    ("sent", "name", "role"),
    [
        ("Zoë".encode(), "Zoë", "operator"),
        ("Zoë".encode("latin-1"), "Zoë", "operator"),
        ("eve\xa0".encode(), "eve\xa0", "reader"),
        ("eve\x85".encode(), "eve\x85", "reader"),
    ],
)
def test_a_name_from_a_proxy_is_the_one_that_it_wrote(sent: bytes, name: str, role: str) -> None:
    proxy = ProxyLogin("X-Forwarded-User")
    trusted = networks(["::ffff:127.0.0.1"])  # as a host with both protocols writes it
    settings = replace(SETTINGS, proxy_login=proxy, operators=frozenset({"eve", "Zoë"}), trusted_proxies=trusted)
    with served(settings) as console:
        me = console.client(headers={"X-Forwarded-User": sent}).get("/api/me").json()
    assert (me["name"], me["role"]) == (name, role)


def test_a_forged_address_does_not_begin_a_new_count_of_attempts(under: Under) -> None:
    with served(under.console.settings) as fresh, fresh.client() as client:
        statuses = [
            client.post("/login", data={"token": "no"}, headers={"X-Forwarded-For": f"10.0.0.{number}"}).status_code
            for number in range(8)
        ]
    assert statuses[-1] == 429


# Sessions.


def cookie_of(console: Served, client: httpx.Client) -> str:
    return str(client.cookies[console.settings.cookie])


def with_cookie(console: Served, value: str) -> httpx.Response:
    return console.client(headers={"Cookie": f"{console.settings.cookie}={value}"}).get("/api/me")


def test_a_login_begins_a_new_session_whatever_cookie_there_was(under: Under) -> None:
    attacker, victim = under.console.logged_in(READER), under.console.client()
    name, planted = under.console.settings.cookie, cookie_of(under.console, attacker)
    victim.cookies.set(name, planted, domain="127.0.0.1")
    answer = victim.post("/login", data={"token": OPERATOR})
    assert f"{name}={planted}" not in answer.headers.get_list("set-cookie")[-1]
    assert with_cookie(under.console, planted).status_code == 401, "the planted session has ended"


def test_a_session_that_was_not_signed_here_is_none(under: Under) -> None:
    data = {"n": "eve", "r": "operator", "w": "token", "s": "1", "c": "2", "t": time.time()}
    forged = URLSafeTimedSerializer(b"another secret", salt="halter-console-session").dumps(data)
    own = cookie_of(under.console, under.console.logged_in(READER))
    for value in (str(forged), own[:-2] + "AA", "x" + own, "", own.split(".", maxsplit=1)[0]):
        refused(with_cookie(under.console, value), 401, "LOGIN")


def test_a_session_ends_with_its_time(under: Under) -> None:
    with served(replace(under.console.settings, session_s=0)) as console:
        client = console.logged_in()
        cookie = cookie_of(console, client) if console.settings.cookie in client.cookies else ""
        time.sleep(1.1)  # sessions count in seconds
        refused(with_cookie(console, cookie), 401, "LOGIN")


def test_a_session_ends_with_its_logout_also_where_its_cookie_is_kept(under: Under) -> None:
    client = under.console.logged_in()
    cookie = cookie_of(under.console, client)
    assert with_cookie(under.console, cookie).status_code == 200
    assert client.post("/logout", data={"csrf": csrf_of(client)}).status_code == 303
    refused(with_cookie(under.console, cookie), 401, "LOGIN")


def test_whoever_logs_out_too_often_ends_their_own_sessions_only() -> None:
    sessions, answer = Sessions(SETTINGS), Response()

    def begun(name: str) -> str:
        began = Response()
        sessions.begin(began, name, Role.READER, Way.OIDC)
        return SimpleCookie(began.headers["set-cookie"])[SETTINGS.cookie].value

    other, first = begun("ann"), begun("eve")
    ended = [begun("eve") for _ in range(ENDED_OF_USER_MAX + 1)]
    for cookie in ended:
        sessions.end(answer, sessions.user_of(cookie))
    assert sessions.user_of(other) is not None
    assert [sessions.user_of(it) for it in (first, ended[0], ended[-1])] == [None] * 3
    assert sessions.user_of(begun("eve")) is not None


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(under: Under) -> None:
    https = replace(under.console.settings, public_url="https://halter.example.com")
    for settings, secure in ((under.console.settings, False), (https, True)):
        with served(settings) as console:
            name = "__Host-halter-443" if secure else f"halter-{console.settings.port}"
            where = {"Host": console.url.partition("://")[2], "Origin": console.url}
            address = f"http://127.0.0.1:{console.settings.port}/login"
            cookie = httpx.post(address, data={"token": OPERATOR}, headers=where).headers["set-cookie"]
        assert cookie.startswith(f"{name}=")
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert ("Secure" in cookie) == secure
        assert "Domain" not in cookie


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example.com",
        "//evil.example.com",
        "/\\evil.example.com",
        "javascript:alert(1)",
        "/..//evil.example.com",
        "/wf-runs/%2e%2e//evil.example.com",
        "/%5cevil.example.com",
    ],
)
def test_a_login_leads_to_no_other_site(under: Under, target: str) -> None:
    answer = under.console.client().post("/login", data={"token": OPERATOR, "next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize("target", ["/wf-runs?var=city%3DK%C3%B6ln&text=//", "/wf-runs/cart-waits/act/stop?thread=1"])
def test_a_login_leads_to_the_page_that_was_asked_for(under: Under, target: str) -> None:
    answer = under.console.client().post("/login", data={"token": OPERATOR, "next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, target)


def test_a_login_writes_no_header_of_its_caller(under: Under) -> None:
    data = {"token": OPERATOR, "next": "/x\r\nSet-Cookie: halter=planted"}
    answer = under.console.client().post("/login", data=data)
    assert answer.headers["location"] == "/"
    assert "planted" not in str(answer.headers)


# Requests that no page of ours sends.


@pytest.mark.parametrize(
    "target",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/%2e./app.py",
        "/static/.%2E/app.py",
        "/static/..\\app.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "//etc/passwd",
        "/static/%00",
        "/%0d%0aSet-Cookie:x",
        "http://evil.example.com/",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(under: Under, target: str) -> None:
    connection = http.client.HTTPConnection(*under.console.where, timeout=10)
    connection.putrequest("GET", target, skip_host=True)
    connection.putheader("Host", under.console.url.partition("://")[2])
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status in (400, 404), answer.read()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_a_method_that_no_page_uses_is_refused(under: Under, method: str) -> None:
    assert raw(under.console, f"{method} /login HTTP/1.1\r\nHost: {{host}}\r\n\r\n").startswith(b"HTTP/1.1 40")


def test_a_method_in_a_header_or_a_field_is_no_method(under: Under) -> None:
    operator = under.console.logged_in()
    answer = operator.get(
        "/api/actions/stop", headers={"X-HTTP-Method-Override": "POST", "X-CSRF-Token": csrf_of(operator)}
    )
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain", "application/xml", ""])
def test_a_body_of_another_type_is_refused(under: Under, kind: str) -> None:
    operator = under.console.logged_in()
    own = {"X-CSRF-Token": csrf_of(operator), "Content-Type": kind}
    refused(operator.post("/api/actions/stop", content=b"{}", headers=own), 415, "CONTENT_TYPE")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"fields": 1}', b'{"fields": {}, "x": 1}', b"[" * 10_000, b"\xff"]
)
def test_a_body_that_is_no_action_is_refused(under: Under, body: bytes) -> None:
    operator = under.console.client(headers={"Authorization": f"Bearer {OPERATOR}", "Content-Type": JSON})
    refused(operator.post("/api/actions/stop", content=body), 400, "BAD_QUERY")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"wf_run_id": ""},
        {"wf_run_id": 7},
        {"wf_run_id": "cart-waits", "thread": -1},
        {"wf_run_id": "cart-waits", "thread": True},
        {"wf_run_id": "cart-waits", "thread": "1e3"},
        {"wf_run_id": "cart-waits", "command_id": "mine"},
        {"wf_run_id": "cart-waits", "operator": "somebody else"},
        {"wf_run_id": "cart-waits", "reason": "x" * 501},
        {"wf_run_id": "x" * 1_001},
        {"wf_run_id": "cart-waits", "thread": 2**63},
    ],
)
def test_fields_that_cannot_be_are_refused(under: Under, fields: dict[str, object]) -> None:
    operator = under.console.client(headers={"Authorization": f"Bearer {OPERATOR}"})
    refused(operator.post("/api/actions/stop", json={"fields": fields}), 400, "BAD_QUERY")


HALF_PAIRS = {
    "an id": ("stop", '{"fields": {"wf_run_id": "\\ud800"}}'),
    "the name of a field": ("stop", '{"fields": {"wf_run_id": "cart-waits", "\\udfff": 1}}'),
    "the id of an action": ("stop", '{"fields": {"wf_run_id": "cart-waits"}, "action_id": "\\ud800"}'),
    "a reason": ("stop", '{"fields": {"wf_run_id": "cart-waits", "reason": "\\ud800"}}'),
    "a moment": ("fork", '{"fields": {"wf_run_id": "cart-waits", "at": "\\ud800", "new_id": "new"}}'),
    "a correction": ("retry", '{"fields": {"dead_letter": "0@0", "corrections": {"\\ud800": 1}}}'),
    "a correction as text": ("retry", r'{"fields": {"dead_letter": "0@0", "corrections": "{\"\\ud800\": 1}"}}'),
}
"""JSON may name half of a surrogate pair, which UTF-8 does not have: neither a record nor an answer can repeat it."""


@pytest.mark.parametrize("where", HALF_PAIRS)
def test_text_that_no_answer_can_repeat_is_refused(under: Under, where: str) -> None:
    action, body = HALF_PAIRS[where]
    operator = under.console.client(headers={"Authorization": f"Bearer {OPERATOR}", "Content-Type": JSON})
    refused(operator.post(f"/api/actions/{action}", content=body), 400, "BAD_QUERY")


def test_an_oversize_body_is_refused_whether_it_says_its_size_or_not(under: Under) -> None:
    operator = under.console.client(headers={"Authorization": f"Bearer {OPERATOR}", "Content-Type": JSON})
    refused(operator.post("/api/actions/stop", content=b"x" * (BOUNDS.body_bytes + 1)), 413, "TOO_LARGE")

    def endless() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * 30_000

    refused(operator.post("/api/actions/stop", content=endless()), 413, "TOO_LARGE")


@pytest.mark.parametrize("path", ["/login", "/logout", "/api/actions/stop"])
def test_a_stranger_sends_no_large_body(under: Under, path: str) -> None:
    with under.console.client() as stranger:
        refused(stranger.post(path, data={"token": "x" * 9000}), 413, "TOO_LARGE")
    bearer = under.console.client(headers={"Authorization": f"Bearer {READER}"})
    assert bearer.post(path, data={"x": "x" * 9000}).status_code != 413


def test_what_is_no_http_is_answered_with_security_headers(under: Under) -> None:
    answer = raw(under.console, "no http\r\n\r\n").lower()
    assert answer.startswith(b"http/1.1 400")
    for header in (b"x-content-type-options: nosniff", b"default-src 'none'", b"cache-control: no-store"):
        assert header in answer


def test_an_oversize_head_is_refused(under: Under) -> None:
    assert raw(under.console, f"GET /login HTTP/1.1\r\nHost: {{host}}\r\nX: {'x' * 40_000}\r\n\r\n").startswith(
        b"HTTP/1.1 4"
    )
    assert under.console.client().get("/login?next=" + "x" * 10_000).status_code == 414


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: evil.example.com",
    ],
)
def test_a_head_that_two_servers_could_read_differently_is_refused(under: Under, lines: str) -> None:
    answer = raw(under.console, f"GET /login HTTP/1.1\r\nHost: {{host}}\r\n{lines}\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))


def test_there_are_no_websockets(under: Under) -> None:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA=="
    answer = raw(under.console, f"GET /live HTTP/1.1\r\nHost: {{host}}\r\n{upgrade}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401"), "it is a request as any other"


# Slow clients, and many.


def raw(console: Served, text: str) -> bytes:
    """Send what no HTTP library would send, and return what comes first."""
    with socket.create_connection(console.where, timeout=10) as connection:
        connection.sendall(text.replace("{host}", console.url.partition("://")[2]).encode())
        return connection.recv(65_536)


@pytest.mark.parametrize("begun", ["", "GET /login HTTP/1.1\r\nHost: "])
def test_a_client_that_does_not_finish_its_head_is_dropped(under: Under, begun: str) -> None:
    with socket.create_connection(under.console.where, timeout=10) as connection:
        connection.sendall(begun.encode())
        started = time.monotonic()
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        assert time.monotonic() - started < 5


def test_a_client_that_drips_its_head_is_dropped(under: Under) -> None:
    with socket.create_connection(under.console.where, timeout=10) as connection:
        started = time.monotonic()
        with suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - started < 8:
                connection.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - started < 5


def test_a_body_that_never_ends_is_refused(under: Under) -> None:
    head = f"POST /login HTTP/1.1\r\nHost: {{host}}\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\n\r\nx"
    answer = raw(under.console, head)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()


def test_a_client_that_does_not_take_its_answers_is_dropped(under: Under) -> None:
    with served(under.console.settings) as console, socket.socket() as connection:
        style = re.search(r"/static/\w+/console\.css", console.client().get("/login").text)
        assert style is not None
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(console.where)
        host = console.url.partition("://")[2]
        # More than the kernel keeps for one connection.
        connection.sendall(f"GET {style[0]} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 600)
        dropped = lambda: b'refusals_total{code="SLOW_CLIENT"} 1.0' in console.figures()  # noqa: E731
        wait_until("the client is dropped", dropped, 10)
        wait_until("its connection has ended", lambda: not console.server.server_state.connections, 10)


def test_more_connections_than_there_may_be_are_closed_and_then_it_goes_on(under: Under) -> None:
    with served(replace(under.console.settings, bounds=replace(BOUNDS, head_s=30))) as console:
        held = [socket.create_connection(console.where, timeout=10) for _ in range(BOUNDS.connections)]
        try:
            with pytest.raises(httpx.TransportError):
                console.client().get("/login")
        finally:
            for connection in held:
                connection.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert console.client().get("/login").status_code == 200
                return
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.parametrize("proxy", [False, True])
def test_one_address_has_some_of_the_connections_and_a_proxy_all(under: Under, proxy: bool) -> None:
    bounds = replace(BOUNDS, connections_of_address=5)
    trusted = networks(["127.0.0.1"]) if proxy else ()
    with served(replace(under.console.settings, bounds=bounds, trusted_proxies=trusted)) as console:
        held = [socket.create_connection(console.where, timeout=10) for _ in range(5)]
        try:
            if proxy:
                assert console.client().get("/login").status_code == 200
            else:
                with pytest.raises(httpx.TransportError):
                    console.client().get("/login")
        finally:
            for connection in held:
                connection.close()


def test_somebody_who_asks_without_end_is_told_to_wait(under: Under) -> None:
    with served(replace(under.console.settings, bounds=replace(BOUNDS, requests=20))) as console:
        with console.client() as client:
            statuses = [client.get("/login").status_code for _ in range(25)]
            answer = client.get("/login")
        assert statuses[:20] == [200] * 20
        refused(answer, 429, "TOO_MANY_REQUESTS")
        assert int(answer.headers["retry-after"]) > 0
