"""Users of the console: who somebody is, how that is known, and what that allows."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a user may do."""

    READER = "reader"
    """Sees everything but masked values."""
    OPERATOR = "operator"
    """Sees masked values on request, and acts where the console allows actions."""


class Way(StrEnum):
    """How it is known who a user is."""

    LOOPBACK = "loopback"
    """Nobody has logged in: whoever is on this machine may read."""
    TOKEN = "token"  # noqa: S105  the name of a way
    OIDC = "oidc"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class User:
    """Whoever sends a request."""

    name: str
    role: Role
    way: Way
    session_id: str = ""
    """The session that it belongs to; empty without one."""
    csrf: str = field(default="", repr=False)
    """What posts of this session repeat; empty without a session."""

    @property
    def is_operator(self) -> bool:
        """Say whether it may see masked values, and act where actions are allowed."""
        return self.role is Role.OPERATOR


ANYBODY: Final = User("reader", Role.READER, Way.LOOPBACK)


def same(known: str | None, given: str) -> bool:
    """Compare with a secret, in a time that does not tell how much of it is right."""
    return known is not None and secrets.compare_digest(known.encode(), given.encode("utf-8", "surrogateescape"))
