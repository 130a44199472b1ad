"""The errors that Halter raises for its users.

Three kinds of trouble are never mixed: a producer's mistake is a `Rejected` event, a record that cannot be
read goes to `dead-letters`, and what is left (configuration, clusters, bugs) is raised. The classes here
are of that last kind. A message says what was expected, what was found and which record or setting it was,
so that nobody needs a traceback to start looking. A class used by one module alone may live there; it still
derives from `HalterError`.
"""


class HalterError(Exception):
    """Base of every error that Halter raises on purpose.

    Whoever runs the command acts on its message: the command line prints it as one sentence and exits with 1.
    """
