"""What people touch: client, worker, history, command line and the embedded broker.

May import `processors`; nothing in `processors` imports this.
"""

import sys

from halter_kafka import NameTaken, expect_our_own

DISTRIBUTION = "halter-kafka"

try:
    expect_our_own()
except NameTaken as taken:
    # While Python looks for what `python -m halter` names: whoever types a command gets a sentence, no stack.
    if sys.argv[:1] == ["-m"]:
        sys.exit(f"halter: {taken}")
    raise
