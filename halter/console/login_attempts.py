"""Attempts to log in: counted for each address, in the log and in the figures, whatever came of them."""

import time

import structlog

from halter.console.metrics import Figures
from halter.console.problems import Problem
from halter.console.security_rates import Rates, network_of
from halter.console.settings import Bounds
from halter.console.users import User, Way


class Attempts:
    """Counts attempts, and refuses more than there may be."""

    def __init__(self, bounds: Bounds, figures: Figures) -> None:
        self._rates, self._most, self._figures = Rates(bounds.logins, bounds.addresses), bounds.logins, figures
        self._log = structlog.get_logger("halter.console")

    def expect_more(self, address: str) -> None:
        """Refuse an address that has failed too often. Raises Problem."""
        if wait := self._rates.wait(network_of(address), time.monotonic()):
            sentence = f"expected at most {self._most} attempts to log in in a minute; wait, then try again"
            raise Problem(429, "TOO_MANY_LOGINS", sentence, {"Retry-After": str(int(wait) + 1)})

    def failed(self, way: Way, address: str, why: str) -> None:
        """Note that somebody could not log in."""
        self._rates.take(network_of(address), time.monotonic())
        self._figures.login(str(way), "refused")
        self._log.warning("login_refused", way=str(way), address=address, why=why)

    def succeeded(self, user: User, address: str) -> None:
        """Note that somebody has logged in."""
        self._figures.login(str(user.way), "accepted")
        self._log.info("login", way=str(user.way), user=user.name, role=str(user.role), address=address)

    def ended(self, user: User, address: str) -> None:
        """Note that somebody has logged out."""
        self._log.info("logout", way=str(user.way), user=user.name, address=address)
