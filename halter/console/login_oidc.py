"""Login by OpenID Connect: the code flow with PKCE, state and nonce, by Authlib.

What belongs to an attempt (state, nonce, code verifier, the page to go to) is kept here until the browser comes back,
and is taken out then: a second answer to the same attempt finds nothing. The browser holds a marker of its attempt, so
nobody else's browser can end it.
"""

import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console import pages
from halter.console.login_attempts import Attempts
from halter.console.problems import Problem
from halter.console.settings import ConsoleSettings, Oidc
from halter.console.users import Way

ATTEMPT_S: Final = 600
ATTEMPTS_MAX: Final = 1000
PROVIDER_S: Final = 5.0
SIGNED_BY: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures that only the provider can make. With HS256, whoever knows the client's secret could."""
Logged = Callable[[Request, str, frozenset[str], str | None], Response]


class OpenAttempts:
    """The attempts that have begun and not ended, as the cache that Authlib asks for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def get(self, key: str) -> str | None:
        """Return what belongs to an attempt; None if it has ended or expired."""
        until, value = self._kept.get(key, (0.0, ""))
        return value if until > time.monotonic() else None

    async def set(self, key: str, value: str, expires: int | None = None) -> None:
        """Keep what belongs to an attempt. The oldest of too many is forgotten."""
        self._kept[key] = time.monotonic() + (expires or ATTEMPT_S), value
        if len(self._kept) > ATTEMPTS_MAX:
            self._kept.popitem(last=False)

    async def delete(self, key: str) -> None:
        """Forget an attempt."""
        self._kept.pop(key, None)


class Provider:
    """Asks a provider who somebody is."""

    def __init__(self, oidc: Oidc, redirect_url: str) -> None:
        self._oidc, self._redirect_url = oidc, redirect_url
        self._client: Any = OAuth(cache=OpenAttempts()).register(
            "provider",
            client_id=oidc.client_id,
            client_secret=oidc.client_secret,
            server_metadata_url=f"{oidc.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "timeout": PROVIDER_S,
                "follow_redirects": False,
                "verify": ssl.create_default_context(),  # once: to read the certificates takes a while
            },
        )

    async def begin(self, request: Request) -> Response:
        """Send a browser to the provider. Raises Problem."""
        try:
            await self._load()
            response: Response = await self._client.authorize_redirect(request, self._redirect_url)
        except Problem:
            raise
        except Exception as error:  # Authlib asks by one of two HTTP libraries, each with errors of its own
            raise self._away(error) from error
        return response

    async def end(self, request: Request) -> tuple[str, frozenset[str]]:
        """Return the name and the groups of whoever the provider sends back. Raises Problem."""
        issuer = {"essential": True, "value": self._oidc.issuer}
        try:
            await self._load()
            token = await self._client.authorize_access_token(request, claims_options={"iss": issuer})
            claims = token["userinfo"]
            return name_in(claims), groups_in(claims, self._oidc.groups_claim)
        except Problem:
            raise
        except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as error:
            sentence = (
                f"the login at {self._oidc.issuer} does not fit to this attempt ({type(error).__name__}); try again"
            )
            raise Problem(403, "OIDC", sentence) from error
        except Exception as error:
            raise self._away(error) from error

    async def _load(self) -> None:
        """Read what the provider says of itself, once. Raises Problem if it is another provider."""
        metadata = await self._client.load_server_metadata()
        if metadata["issuer"] != self._oidc.issuer:
            found = str(metadata["issuer"])[:200]
            metadata.pop("_loaded_at", None)  # it is asked again
            raise Problem(503, "OIDC", f"expected the provider {self._oidc.issuer}, found one that says it is {found}")
        told = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [it for it in told if it in SIGNED_BY]

    def _away(self, error: Exception) -> Problem:
        return Problem(
            503,
            "OIDC_AWAY",
            f"the provider {self._oidc.issuer} does not answer as expected ({type(error).__name__}); try again, or ask "
            "whoever runs it",
        )


def name_in(claims: dict[str, Any]) -> str:
    """Return what a user is known by: an address that the provider has verified, else the id that never changes.

    Other names a user may choose, and so could take that of an operator.
    """
    if claims.get("email_verified") is True and isinstance(claims.get("email"), str):
        return str(claims["email"])
    return str(claims["sub"])


def groups_in(claims: dict[str, Any], claim: str) -> frozenset[str]:
    """Return the groups of a user."""
    told = claims.get(claim, ())
    return frozenset(map(str, told)) if isinstance(told, list | tuple) else frozenset()


def routes_of(provider: Provider, settings: ConsoleSettings, attempts: Attempts, logged: Logged) -> list[Route]:
    """Return the routes to the provider and back. `logged` begins the session."""

    async def begin(request: Request) -> Response:
        request.session["next"] = request.query_params.get("next")
        try:
            attempts.expect_more(request.state.address)
            return await provider.begin(request)
        except Problem as problem:
            return pages.login_page(request, "/", problem)

    async def end(request: Request) -> Response:
        target = request.session.get("next")
        try:
            attempts.expect_more(request.state.address)
            name, groups = await provider.end(request)
        except Problem as problem:
            attempts.failed(Way.OIDC, request.state.address, problem.code)
            return pages.login_page(request, "/", problem)
        request.session.clear()
        return logged(request, name, groups, target)

    kept = Middleware(
        SessionMiddleware,
        secret_key=settings.secret.hex(),
        session_cookie=settings.attempt_cookie,
        max_age=ATTEMPT_S,
        path="/login",
        same_site="lax",
        https_only=settings.is_https,
    )
    return [
        Route("/login/oidc", begin, methods=["GET"], middleware=[kept]),
        Route("/login/callback", end, methods=["GET"], middleware=[kept]),
    ]
