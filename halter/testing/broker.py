"""One embedded Kafka for all processes of a test session: the first that needs it starts it, and stops it as the last.

pytest-xdist runs tests in several processes. Locks of files tell them apart from those of other sessions: the kernel
releases the lock of a process that is killed. Knows no pytest.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ADDRESS: Final = "bootstrap"


@contextmanager
def shared_broker(folder: Path) -> Iterator[str]:
    """Yield the address of the broker that all who name this folder share. Raises ExtraMissing, BrokerFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / ADDRESS
    with (folder / "start.lock").open("w") as start, (folder / "use.lock").open("w") as use:
        fcntl.flock(start, fcntl.LOCK_EX)
        if address.exists():
            fcntl.flock(use, fcntl.LOCK_SH)
            fcntl.flock(start, fcntl.LOCK_UN)
            yield address.read_text(encoding="utf-8")
            return
        from halter.broker import EmbeddedBroker

        with EmbeddedBroker(folder / "data") as kafka:
            address.write_text(kafka.bootstrap, encoding="utf-8")
            fcntl.flock(start, fcntl.LOCK_UN)
            try:
                yield kafka.bootstrap
            finally:
                fcntl.flock(start, fcntl.LOCK_EX)  # nobody begins to use it any more
                address.unlink()
                fcntl.flock(use, fcntl.LOCK_EX)  # nobody uses it any more
