"""The tools around the engine: client, task worker, histories, command line and the embedded broker.

This package imports `processors`, and nothing in `processors` imports it.
"""

import sys

from halter_kafka import NameTaken, expect_our_own

DISTRIBUTION = "halter-kafka"

try:
    expect_our_own()
except NameTaken as taken:
    # `python -m halter` imports this module first. The user of a command gets a sentence and no traceback.
    if sys.argv[:1] == ["-m"]:
        sys.exit(f"halter: {taken}")
    raise
