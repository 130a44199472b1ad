"""Sessions: a signed cookie that says who somebody is, and what ends it.

The cookie holds the session; the server keeps only which sessions have logged out, for as long as they would have been
valid. If those of a user are too many, every session of that user so far ends instead, and if those of all are, every
session: nobody comes back in by being forgotten.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from typing import Any, Final

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.responses import Response

from halter.console.settings import ConsoleSettings
from halter.console.users import Role, User, Way

ENDED_MAX: Final = 10_000
ENDED_OF_USER_MAX: Final = 500
NAME_MAX: Final = 200


class Sessions:
    """Begins and ends the sessions of a console."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._signer = URLSafeTimedSerializer(settings.secret, salt="halter-console-session")
        self._ended: OrderedDict[str, tuple[float, str]] = OrderedDict()
        """The id of a session that has logged out -> when it would have ended, and whose it was."""
        self._valid_since = 0.0
        self._valid_since_of: dict[str, float] = {}
        """The same for the sessions of one user."""
        self.cookie = settings.cookie

    def begin(self, response: Response, name: str, role: Role, way: Way) -> User:
        """Begin a session with a new id, whatever cookie came with the request, and put it into an answer."""
        user = User(name[:NAME_MAX], role, way, secrets.token_urlsafe(16), secrets.token_urlsafe(24))
        data = {"n": user.name, "r": str(role), "w": str(way), "s": user.session_id, "c": user.csrf, "t": time.time()}
        response.set_cookie(
            self.cookie,
            str(self._signer.dumps(data)),
            max_age=self._settings.session_s,
            path="/",
            secure=self._settings.is_https,
            httponly=True,
            samesite="lax",  # strict would not come along when a provider sends the browser back
        )
        return user

    def user_of(self, cookie: str) -> User | None:
        """Return the user of a cookie; None if it is not ours, has expired, or has logged out."""
        try:
            data: dict[str, Any] = self._signer.loads(cookie, max_age=self._settings.session_s)
        except BadSignature:
            return None
        since = max(self._valid_since, self._valid_since_of.get(data["n"], 0.0))
        if data["s"] in self._ended or data["t"] <= since:
            return None
        return User(data["n"], Role(data["r"]), Way(data["w"]), data["s"], data["c"])

    def end(self, response: Response, user: User | None) -> None:
        """End a session, here and in the browser."""
        response.delete_cookie(self.cookie, path="/", secure=self._settings.is_https, httponly=True, samesite="lax")
        if user is None or not user.session_id:
            return
        now = time.time()
        self._ended[user.session_id] = now + self._settings.session_s, user.name
        while self._ended and next(iter(self._ended.values()))[0] <= now:
            self._ended.popitem(last=False)
        own = [session_id for session_id, (_, name) in self._ended.items() if name == user.name]
        if len(own) > ENDED_OF_USER_MAX:
            for session_id in own:
                del self._ended[session_id]
            kept = {name: it for name, it in self._valid_since_of.items() if it + self._settings.session_s > now}
            self._valid_since_of = {**kept, user.name: now}
        if len(self._ended) > ENDED_MAX:
            self._ended.clear()
            self._valid_since = now

    def csrf_of(self, name: str) -> str:
        """Return the CSRF token of a user without a session: one whom a proxy names with each request."""
        return hmac.digest(self._settings.secret, b"halter-console-csrf\0" + name.encode(), "sha256").hex()
