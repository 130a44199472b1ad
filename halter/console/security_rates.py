"""How often somebody may ask: a bucket for each name, and a bounded number of names.

Pure: the time comes from the caller. Memory does not grow with the number of callers: whoever has been quiet longest is
forgotten first, and then has a full bucket again. So a bucket keeps the console from being busy. It is not what keeps a
token from being guessed: that is its length.
"""

import ipaddress
from collections import OrderedDict


def network_of(address: str) -> str:
    """Return the name by which an address is counted. Whoever has one of IPv6 has all of its /64, so those are one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


class Rates:
    """Counts what each name asks for. A name may ask `per_minute` times, all at once or spread over the minute."""

    def __init__(self, per_minute: int, names: int) -> None:
        self._most, self._per_s, self._names = float(per_minute), per_minute / 60.0, names
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Name -> what it has left, and the time at which it had that."""

    def __len__(self) -> int:
        """Return the number of names that are counted."""
        return len(self._buckets)

    def wait(self, name: str, now_s: float) -> float:
        """Return the seconds until a request of this name may be answered, without counting one."""
        left, seen_s = self._buckets.get(name, (self._most, now_s))
        left = min(self._most, left + (now_s - seen_s) * self._per_s)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._per_s

    def take(self, name: str, now_s: float) -> float:
        """Count one request. Return 0.0 if it may be answered, else the seconds until one may."""
        wait = self.wait(name, now_s)
        left, seen_s = self._buckets.pop(name, (self._most, now_s))
        left = min(self._most, left + (now_s - seen_s) * self._per_s)
        self._buckets[name] = (left - 1.0 if wait == 0.0 else left), now_s
        if len(self._buckets) > self._names:
            self._buckets.popitem(last=False)
        return wait
