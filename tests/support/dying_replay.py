"""Runs `halter replay` and is killed in one of its transactions: all records are on the broker, no commit.

    python -m tests.support.dying_replay N ARGUMENTS...

N transactions are committed before. Each has the outputs of three inputs.
"""

import os
import signal
import sys
from functools import partial

from halter import cli
from halter.replay import replay
from halter.replay.writing import Writing


def main() -> None:
    left = int(sys.argv.pop(1))
    commit = Writing._commit

    def commit_or_die(writing: Writing) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        commit(writing)

    Writing._commit = commit_or_die  # type: ignore[method-assign]
    replay.replayed = partial(replay.replayed, turn=3)  # type: ignore[assignment]
    sys.argv[1:1] = ["replay"]
    cli.main()


if __name__ == "__main__":
    main()
