"""The gate of the console: each answer has its headers, and what no page of ours sends is refused."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from halter.console.login import own_path
from halter.console.security_rates import Rates, network_of
from halter.console.settings import BadConsole, ConsoleSettings, Oidc, ProxyLogin, networks
from tests.support.consoles import OPERATOR, READER, SETTINGS, Served, served


@pytest.fixture(scope="module")
def console() -> Iterator[Served]:
    with served(SETTINGS) as it:
        yield it


@pytest.mark.parametrize("path", ["/", "/no-such-page", "/api/no-such", "/static/console.css", "/login"])
def test_every_answer_has_its_security_headers(console: Served, path: str) -> None:
    answer = console.client().get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] in ("no-store", "no-cache")
    assert "server" not in answer.headers


def test_without_a_login_loopback_reads(console: Served) -> None:
    assert console.client().get("/").status_code == 200


def test_an_error_is_a_page_for_people_and_json_for_programs(console: Served) -> None:
    page, data = console.client().get("/no-such-page"), console.client().get("/api/no-such")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (data.status_code, data.headers["content-type"]) == (404, "application/problem+json")
    assert data.json()["code"] == "NO_SUCH_PAGE"


LOGIN = replace(SETTINGS, reader_token=READER, operator_token=OPERATOR)
ISSUER = Oidc("https://issuer.example.com", "console", "secret")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (ConsoleSettings(host="0.0.0.0"), "expected a login"),
        (replace(LOGIN, host="0.0.0.0"), "--public-url"),
        (replace(LOGIN, host="::"), "--public-url"),
        (replace(LOGIN, public_url="halter.example.com"), "expected an address as https"),
        (ConsoleSettings(public_url="https://halter.example.com"), "--public-url .*expected a login, found none"),
        (replace(LOGIN, public_url="https://halter.example.com/console"), "without a path"),
        (replace(SETTINGS, reader_token="short"), "at least 16 characters"),
        (replace(SETTINGS, reader_token=READER, operator_token=READER), "expected another token"),
        (ConsoleSettings(proxy_login=ProxyLogin("X-User")), "--trusted-proxy"),
        (ConsoleSettings(oidc=replace(ISSUER, issuer="http://issuer.example.com")), "expected https://"),
        (replace(SETTINGS, allow_actions=True), "a Kafka"),
    ],
)
def test_settings_that_would_serve_strangers_are_refused(settings: ConsoleSettings, says: str) -> None:
    with pytest.raises(BadConsole, match=says):
        settings.check()


@pytest.mark.parametrize(
    ("settings", "url", "host", "cookie"),
    [
        (ConsoleSettings(port=80), "http://127.0.0.1", "localhost", "halter-80"),
        (ConsoleSettings(port=443), "http://127.0.0.1:443", "localhost:443", "halter-443"),
        (ConsoleSettings(host="::1", port=80), "http://[::1]", "[::1]", "halter-80"),
        (ConsoleSettings(public_url="https://x.org:443/"), "https://x.org", "x.org", "__Host-halter-443"),
        (ConsoleSettings(public_url="HTTPS://X:8443"), "https://X:8443", "x:8443", "__Host-halter-8443"),
        (ConsoleSettings(public_url="http://x:443"), "http://x:443", "x:443", "halter-443"),
    ],
)
def test_addresses_are_as_browsers_write_them(settings: ConsoleSettings, url: str, host: str, cookie: str) -> None:
    assert settings.url == url
    assert host in settings.hosts
    assert f"{url.partition(':')[0]}://{host}" in settings.origins
    assert settings.cookie == cookie


@pytest.mark.parametrize("text", ["proxy", "10.0.0.1/8", "0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"])
def test_a_trusted_proxy_is_a_named_address(text: str) -> None:
    with pytest.raises(BadConsole, match="--trusted-proxy"):
        networks([text])


@pytest.mark.parametrize(
    ("target", "page"),
    [
        ("/wf-runs?status=HALTED&page=2", "/wf-runs?status=HALTED&page=2"),
        (None, "/"),
        ("", "/"),
        ("https://evil.example.com", "/"),
        ("//evil.example.com", "/"),
        ("/\\evil.example.com", "/"),
        ("/\t/evil.example.com", "/"),
        ("/\n/evil.example.com", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
        ("/login?next=/login", "/"),
        ("/" + "x" * 3000, "/"),
    ],
)
def test_a_login_leads_to_a_page_of_this_console(target: str | None, page: str) -> None:
    assert own_path(target) == page


def test_a_bucket_lets_as_many_through_as_a_minute_has_and_fills_up_again() -> None:
    rates = Rates(per_minute=60, names=2)
    assert [rates.take("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert rates.take("a", 0.0) == pytest.approx(1.0)
    assert rates.take("b", 0.0) == 0.0, "each name has its own"
    assert rates.take("a", 1.0) == 0.0
    assert rates.take("a", 1.0) > 0.0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1::5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::", "2001:db8:0:1::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_are_counted_as_the_network_that_somebody_has(address: str, network: str) -> None:
    assert network_of(address) == network


def test_buckets_have_a_bounded_number_of_names() -> None:
    rates = Rates(per_minute=1, names=100)
    for number in range(10_000):
        rates.take(f"address {number}", 0.0)
    assert len(rates) == 100
