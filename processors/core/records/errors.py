"""The errors that Halter raises for its users.

Three kinds of trouble are never mixed: a producer's mistake is a `Rejected` event, a record that cannot be read goes to
`dead-letters`, and everything else (configuration, clusters, bugs) is raised. The class here is of the last kind. A
message says what was expected, what was found and which record or setting it was, so that nobody needs a traceback to
start looking. A class that one module alone uses stands there, and derives from `HalterError`.
"""

import re
from typing import Final

NEXT_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class HalterError(Exception):
    """The base of every error that Halter raises on purpose.

    Whoever runs the command should act on its message. The command line prints it as one sentence and exits with 1.
    """

    @property
    def code(self) -> str:
        """The kind of error as a word for programs, such as NO_OUTCOME. A refusal has the engine's code."""
        return NEXT_WORD.sub("_", type(self).__name__).upper()


class NotInWfRun(HalterError, LookupError):
    """A WfRun has no thread of a number or ThreadSpec now. Whoever asked takes one that the message names."""
