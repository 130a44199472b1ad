"""Ends the process of a command at once when it fails or is interrupted, even while a Kafka client waits.

Python handles a signal between two of its own steps. A call into librdkafka that waits for a broker is one step, and
it can take many seconds. So a second thread also listens for Ctrl-C, and ends the process if the command does not.
Use this only for commands, and parts of commands, that leave nothing behind to clean up.
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
"""Exit codes for the signals that end a process. Python notices SIGTERM only if a handler is set for it."""
TIDY_SECONDS: Final = 0.5


def exit_at_once(exit_code: int) -> NoReturn:
    """End the process without waiting: a Kafka client that is freed would wait for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader of the pipe is gone
            stream.flush()
    os._exit(exit_code)


def end_on_sigterm() -> None:
    """Make SIGTERM end the process with exit code 0. Without a handler, the first process of a container ignores it."""
    signal.signal(signal.SIGTERM, lambda *_: exit_at_once(EXIT_CODES[signal.SIGTERM]))


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Do the same during the block, unless what runs in it sets a handler of its own. That one stays."""
    before = signal.getsignal(signal.SIGTERM)
    end_on_sigterm()
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is ours:
            signal.signal(signal.SIGTERM, before)


def exit_on_sigterm() -> None:
    """Make SIGTERM raise SystemExit, so that context managers clean up before the process ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Make Ctrl-C during the block end the process within TIDY_SECONDS, even if the block waits for something.

    After `end_on_sigterm`, SIGTERM does the same.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_end_when_told, args=(heard,), daemon=True).start()
    interrupted = False

    def interrupt(*_: object) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if interrupted:  # a Kafka client that is being made loses the KeyboardInterrupt and raises a TypeError
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.set_wakeup_fd(before)
        os.close(told)


def _end_when_told(heard: int) -> None:
    """Read the numbers of signals until the block ends, and end the process for those that ask for it."""
    while number := os.read(heard, 1):
        exit_code = EXIT_CODES.get(number[0])
        if exit_code is not None and not select.select([heard], [], [], TIDY_SECONDS)[0]:
            # No flush: the interrupted thread may hold the lock of a stream.
            os._exit(exit_code)
    os.close(heard)
