"""The settings of a console: where it listens, what it reads, who may log in and act, and its bounds.

Values only. It knows no framework, and contacts nobody. `check` refuses settings that would serve strangers.
"""

import ipaddress
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from halter.history.source import Source
from processors.core.records.errors import HalterError
from processors.kafka.settings import Settings

if TYPE_CHECKING:
    from halter.client.dead_letters import DeadLetterRead
    from halter.console.sending import Sender
    from halter.doctor.standing import Folding
    from processors.fold.inputs import InputCommand

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
SourceOf: TypeAlias = Callable[[], AbstractContextManager[Source]]
LettersOf: TypeAlias = "Callable[[int, int], tuple[DeadLetterRead, InputCommand | None]]"
LOOPBACK: Final = "127.0.0.1"
PORT: Final = 8090
TOKEN_LENGTH_MIN: Final = 16
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class BadConsole(HalterError):
    """The console cannot be served as it was asked for. Whoever started it corrects the option that is named."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one console bears. Sizes are in bytes, times in seconds, rates in requests for each minute."""

    body_bytes: int = 2 * 1024 * 1024
    """A post: the content of an ExternalEvent may be about 1 MB."""
    stranger_body_bytes: int = 8 * 1024
    """A post of somebody without a login: a token and a page to go to."""
    target_bytes: int = 8 * 1024
    """The path and the query of a request."""
    header_bytes: int = 16 * 1024
    head_s: float = 10.0
    """The time until the head of a request is there."""
    body_s: float = 15.0
    """The time until its body is there."""
    send_s: float = 30.0
    """The time until a client has taken a part of an answer."""
    answer_s: float = 60.0
    """The time that an answer may take, but for server-sent events."""
    connections: int = 512
    connections_of_address: int = 128
    """But for those of a trusted proxy."""
    addresses: int = 4096
    """The number of addresses of which requests are counted."""
    requests: int = 1200
    logins: int = 20
    """The attempts to log in, for each address."""
    actions: int = 120
    """For each user."""
    live_clients: int = 100
    live_clients_of_address: int = 10
    live_buffer: int = 64
    """The messages that may wait for one client."""
    live_kept: int = 256
    """The messages that are kept for clients that come back."""
    live_poll_s: float = 0.5
    live_heartbeat_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Oidc:
    """A provider of OpenID Connect, and what it knows the console as."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class ProxyLogin:
    """A reverse proxy that has logged in whoever it lets through, and names them in headers."""

    user_header: str
    groups_header: str | None = None


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """How one console is served."""

    view_url: str | None = None
    """Where the view is; None for the usual place."""
    kafka: Settings | None = None
    """Where histories are read and actions sent; None: neither is possible."""
    host: str = LOOPBACK
    port: int = PORT
    public_url: str | None = None
    """How browsers reach it; None for http:// and the host and port that it listens at."""
    allow_actions: bool = False
    reader_token: str | None = field(default=None, repr=False)
    operator_token: str | None = field(default=None, repr=False)
    oidc: Oidc | None = None
    proxy_login: ProxyLogin | None = None
    trusted_proxies: tuple[Network, ...] = ()
    """The addresses whose X-Forwarded-For and user headers count."""
    operators: frozenset[str] = frozenset()
    """The names of users who are operators: as the provider or the proxy tells them."""
    operator_groups: frozenset[str] = frozenset()
    session_s: int = 8 * 3600
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs the cookies. A new one ends all sessions."""
    start_up_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Makes its bearer an operator where no login is set up, on loopback, with actions allowed."""
    bounds: Bounds = field(default_factory=Bounds)
    source: SourceOf | None = None
    """Reads histories from elsewhere than Kafka: for tests, and for exports."""
    letters: "LettersOf | None" = None
    """Reads dead letters, each with the record that is decoded of it, from elsewhere than Kafka: for tests."""
    folding: "Callable[[], Folding] | None" = None
    """Looks elsewhere than at Kafka for what waits to be folded: for tests."""
    sender: "Callable[[], Sender] | None" = None
    """Sends commands elsewhere than to Kafka: for tests."""

    @property
    def has_login(self) -> bool:
        """Say whether a login is set up. Then nothing is shown without one."""
        return bool(self.reader_token or self.operator_token or self.oidc or self.proxy_login)

    @property
    def has_start_up_token(self) -> bool:
        """Say whether the start-up token counts."""
        return self.allow_actions and not self.has_login

    @property
    def url(self) -> str:
        """How browsers reach it: without a slash at the end, and without the port that its scheme has by itself."""
        return _as_browsers_write(self.public_url or f"http://{_in_url(self.host)}:{self.port}")

    @property
    def is_https(self) -> bool:
        """Say whether browsers come by https."""
        return self.url.startswith("https://")

    @property
    def origins(self) -> frozenset[str]:
        """The origins that pages of this console have."""
        own = {self.url.lower()}
        if self.public_url is None and is_loopback(self.host):
            own |= {_as_browsers_write(f"http://{host}:{self.port}") for host in ("localhost", LOOPBACK, "[::1]")}
        return frozenset(own)

    @property
    def hosts(self) -> frozenset[str]:
        """The values that a Host header may have."""
        return frozenset(it.partition("://")[2] for it in self.origins)

    @property
    def cookie(self) -> str:
        """The name of the cookie of a session. A browser sends a cookie to every port, so the port is in its name.

        A browser takes a cookie `__Host-` only by https, without a domain and for every path.
        """
        return f"{'__Host-' if self.is_https else ''}halter-{self._port}"

    @property
    def attempt_cookie(self) -> str:
        """The name of the cookie of an attempt to log in at a provider; it is for /login only."""
        return f"{'__Secure-' if self.is_https else ''}halter-login-{self._port}"

    @property
    def _port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or DEFAULT_PORTS[parts.scheme]

    def check(self) -> None:
        """Refuse what would serve strangers, or nobody. Raises BadConsole."""
        for name, token in (("--token-file", self.reader_token), ("--operator-token-file", self.operator_token)):
            if token is not None and len(token) < TOKEN_LENGTH_MIN:
                raise BadConsole(f"{name}: expected at least {TOKEN_LENGTH_MIN} characters, found {len(token)}")
        if self.reader_token is not None and self.reader_token == self.operator_token:
            raise BadConsole("--operator-token-file: expected another token than that of --token-file, found the same")
        if not is_loopback(self.host) and not self.has_login:
            raise BadConsole(
                f"--host {self.host}: others could reach the console, so expected a login, found none; add "
                "--token-file, --oidc-issuer or --user-header, or leave --host out"
            )
        if is_wildcard(self.host) and self.public_url is None:
            raise BadConsole(
                f"--host {self.host}: expected --public-url with it, the address in the browser "
                "(https://halter.example.com), found none"
            )
        if self.public_url is not None:
            _check_url("--public-url", self.public_url, https=False)
            if not self.has_login and not is_loopback(urlsplit(self.public_url).hostname or ""):
                raise BadConsole(
                    f"--public-url {self.public_url}: others reach the console there, so expected a login, found none; "
                    "add --token-file, --oidc-issuer or --user-header"
                )
        if self.proxy_login is not None and not self.trusted_proxies:
            raise BadConsole("--user-header: expected --trusted-proxy with it, the address of the proxy, found none")
        if self.oidc is not None:
            _check_url("--oidc-issuer", self.oidc.issuer, https=True)
        if self.allow_actions and self.kafka is None and self.sender is None:
            raise BadConsole("--allow-actions: expected a Kafka to send them to, found none")
        if self.allow_actions and self.has_login and not self._has_operators:
            raise BadConsole(
                "--allow-actions: expected somebody who may act; add --operator-token-file, --operator or "
                "--operator-group"
            )

    @property
    def _has_operators(self) -> bool:
        return bool(self.operator_token or self.operators or self.operator_groups)

    def is_operator(self, name: str, groups: frozenset[str]) -> bool:
        """Say whether a user whom a provider or a proxy names is an operator."""
        return name in self.operators or bool(groups & self.operator_groups)

    def trusts(self, address: str) -> bool:
        """Say whether what this address says of others counts."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self.trusted_proxies)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Say whether it stands for every address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def networks(texts: list[str]) -> tuple[Network, ...]:
    """Return the addresses that `--trusted-proxy` names. Raises BadConsole."""
    found = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise BadConsole(
                f"--trusted-proxy: expected an address or a network as 10.0.0.0/24, found '{text}'"
            ) from None
        if isinstance(network, ipaddress.IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
            # Whoever asks is compared as an IPv4 address (`trusts`).
            network = ipaddress.IPv4Network((mapped, max(0, network.prefixlen - 96)))
        if network.prefixlen == 0:
            raise BadConsole(f"--trusted-proxy: expected named addresses, found '{text}', which is every address")
        found.append(network)
    return tuple(found)


def _check_url(option: str, url: str, *, https: bool) -> None:
    """Refuse what is no origin. `https`: http is for loopback only."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise BadConsole(f"{option}: expected an address as https://halter.example.com, found '{url}'")
    if not https and parts.path not in ("", "/"):
        raise BadConsole(f"{option}: expected an address without a path, found '{url}'")
    if https and parts.scheme == "http" and not is_loopback(parts.hostname):
        raise BadConsole(f"{option}: expected https://, found '{url}'; http:// is for a provider on this machine")


def _as_browsers_write(url: str) -> str:
    """Return an address without a slash at the end, and without the port that is its scheme's own."""
    scheme, _, rest = url.rstrip("/").partition("://")
    scheme = scheme.lower()
    return f"{scheme}://{rest.removesuffix(f':{DEFAULT_PORTS.get(scheme)}')}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
