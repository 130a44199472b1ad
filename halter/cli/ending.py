"""How the process of a command ends: at once when it is interrupted or has failed, whatever its Kafka clients wait for.

Python hears of a signal between two of its own steps. A call into librdkafka that waits for a broker is one step, of
many seconds maybe: so a thread hears of Ctrl-C as well, and ends the process if the command does not end by itself.
Only for commands, and parts of commands, that leave nothing behind that somebody would have to tidy up.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

INTERRUPTED: Final = 130
EXIT_CODES: Final[Mapping[int, int]] = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: 0}
"""Of signals that end a process. Python hears of SIGTERM only where somebody has a handler for it."""
TIDY_SECONDS: Final = 0.5


def leave(exit_code: int) -> NoReturn:
    """End the process without waiting for anybody: a client that is let go of waits for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(exit_code)


def end_on_sigterm() -> None:
    """Have SIGTERM end the process as an end that was asked for; the first process of a container ignores it else."""
    signal.signal(signal.SIGTERM, lambda *_: leave(EXIT_CODES[signal.SIGTERM]))


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Have Ctrl-C during the block end the process within TIDY_SECONDS, whatever the block waits for.

    So does SIGTERM, after `end_on_sigterm`.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_end_when_told, args=(heard,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(told)


def _end_when_told(heard: int) -> None:
    """Follow the numbers of signals up to the end of the block."""
    while number := os.read(heard, 1):
        exit_code = EXIT_CODES.get(number[0])
        if exit_code is not None and not select.select([heard], [], [], TIDY_SECONDS)[0]:
            # Without a flush: whoever is interrupted may hold the lock of a stream.
            os._exit(exit_code)
    os.close(heard)
