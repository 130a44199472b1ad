"""The options of `halter console` that say who may log in, and the files with its secrets.

Knows what each kind of login needs. What it means for requests is in `halter.console`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from halter.cli.option_groups import OptionGroup
from halter.cli.usage import BadOptions
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from halter.console.settings import ConsoleSettings, Oidc, ProxyLogin

PANEL: Final = "Who may log in"
SECRET_BYTES_MAX: Final = 4096


def _login(metavar: str, told: str) -> Any:
    """Return an option of this panel that has no default to show."""
    return typer.Option(metavar=metavar, help=told, rich_help_panel=PANEL, show_default=False)


TokenFile = Annotated[Path | None, _login("FILE", "A token with which one may read.")]
OperatorTokenFile = Annotated[Path | None, _login("FILE", "A token with which one is an operator.")]
OidcIssuer = Annotated[
    str | None, _login("URL", "A provider of OpenID Connect. It must know URL/login/callback of this console.")
]
OidcClient = Annotated[str | None, _login("ID", "The id of this console at the provider.")]
OidcSecretFile = Annotated[Path | None, _login("FILE", "The secret that goes with it.")]
OidcGroupsClaim = Annotated[
    str, typer.Option(metavar="NAME", help="The claim that has the groups of a user.", rich_help_panel=PANEL)
]
UserHeader = Annotated[
    str | None,
    _login("NAME", "The header in which a proxy names the user that it has logged in. Needs --trusted-proxy."),
]
GroupsHeader = Annotated[str | None, _login("NAME", "The header in which it names the user's groups, with commas.")]
TrustedProxy = Annotated[
    list[str] | None,
    _login("ADDRESS", "An address or network whose X-Forwarded-For and --user-header count. May be repeated."),
]
OperatorName = Annotated[
    list[str] | None,
    _login(
        "NAME",
        "A user who is an operator, as the proxy or the provider names it (a verified e-mail address, else "
        "the subject). May be repeated.",
    ),
]
OperatorGroup = Annotated[list[str] | None, _login("NAME", "A group whose users are operators. May be repeated.")]
SessionHours = Annotated[float, typer.Option(min=0.1, max=168, help="How long a login lasts.", rich_help_panel=PANEL)]


class BadSecret(HalterError):
    """A file that should have a secret has none. Whoever started the console names another."""


@dataclass(frozen=True)
class Login(OptionGroup):
    """Who may log in, and who of them is an operator."""

    token_file: TokenFile = None
    operator_token_file: OperatorTokenFile = None
    oidc_issuer: OidcIssuer = None
    oidc_client: OidcClient = None
    oidc_secret_file: OidcSecretFile = None
    oidc_groups_claim: OidcGroupsClaim = "groups"
    user_header: UserHeader = None
    groups_header: GroupsHeader = None
    trusted_proxy: TrustedProxy = None
    operator: OperatorName = None
    operator_group: OperatorGroup = None
    session_hours: SessionHours = 8.0

    def added_to(self, settings: "ConsoleSettings") -> "ConsoleSettings":
        """Return the settings of a console with these. Raises BadOptions, BadSecret and BadConsole."""
        from halter.console.settings import networks

        return replace(
            settings,
            reader_token=secret_in("--token-file", self.token_file),
            operator_token=secret_in("--operator-token-file", self.operator_token_file),
            oidc=self._oidc(),
            proxy_login=self._proxy_login(),
            trusted_proxies=networks(self.trusted_proxy or []),
            operators=frozenset(self.operator or ()),
            operator_groups=frozenset(self.operator_group or ()),
            session_s=int(self.session_hours * 3600),
        )

    def _oidc(self) -> "Oidc | None":
        from halter.console.settings import Oidc

        if self.oidc_issuer is None:
            if self.oidc_client is not None or self.oidc_secret_file is not None:
                raise BadOptions("--oidc-client and --oidc-secret-file: expected --oidc-issuer with them, found none")
            return None
        secret = secret_in("--oidc-secret-file", self.oidc_secret_file)
        if self.oidc_client is None or secret is None:
            raise BadOptions("--oidc-issuer: expected --oidc-client and --oidc-secret-file with it")
        return Oidc(self.oidc_issuer, self.oidc_client, secret, self.oidc_groups_claim)

    def _proxy_login(self) -> "ProxyLogin | None":
        from halter.console.settings import ProxyLogin

        if self.user_header is not None:
            return ProxyLogin(self.user_header, self.groups_header)
        if self.groups_header is not None:
            raise BadOptions("--groups-header: expected --user-header with it, found none")
        return None


def secret_in(option: str, file: Path | None) -> str | None:
    """Return the secret that a file has: its one line; None without a file. Raises BadSecret."""
    if file is None:
        return None
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(SECRET_BYTES_MAX).strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no text in UTF-8"
        raise BadSecret(f"{option} {file}: expected a file with a secret, found: {why}") from None
    if not text or len(text.split()) != 1:
        raise BadSecret(f"{option} {file}: expected one line with a secret, found {'none' if not text else 'more'}")
    return text
