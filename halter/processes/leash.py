"""Runs a program that ends when its parent ends, however the parent ends.

Run this file as a program: `python leash.py PARENT_PID PROGRAM ARGUMENT...`. A Python that is killed with SIGKILL
cannot stop its JVM, and a JVM left behind would hold ports and data for ever. On Linux this program asks the kernel to
kill it when the parent dies (PR_SET_PDEATHSIG). The request survives the exec that turns it into the other program. On
other systems this program stays, and watches the parent.

It is a program and not a `preexec_fn`, because Python code between fork and exec may deadlock in a process with
threads. The kernel means the parent *thread*, not the parent process: `halter/broker/node.py` shows what that needs.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
WATCH_SECONDS = 0.5


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if os.uname().sysname == "Linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent ended before its child began")
        os.execv(command[0], command)  # noqa: S606  no shell is involved
    watch(parent, command)


def watch(parent: int, command: list[str]) -> None:
    """Run a program as a child. Pass SIGTERM on to it, and kill it when the parent is gone."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while child.poll() is None:
        if os.getppid() != parent:
            child.kill()
        time.sleep(WATCH_SECONDS)
    sys.exit(child.returncode)


if __name__ == "__main__":
    main()
