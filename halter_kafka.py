"""Checks that `halter` and `processors` are Halter's packages, and starts the command `halter`.

Others use these two names too: a folder `processors/` in the working directory, or another distribution in the same
place. Python then imports the other package, and something fails later. This module has the name of the distribution,
which nobody else uses. It lies beside both packages, and imports neither before it has found where they are.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "halter-kafka"
"""The name of the distribution. Both packages have it as DISTRIBUTION, to tell them from others of the same names."""
PACKAGES: Final = ("halter", "processors")
COMMAND: Final = (sys.executable, "-P", "-m", "halter")
"""Starts the command in a new process. The working directory, which is the user's, stays off Python's path."""


class NameTaken(ImportError):
    """Another package has the name of one of ours. The user should act; the message names both."""


def expect_our_own() -> None:
    """Check that both packages are the ones beside this module, and ours. Raises NameTaken."""
    for name in PACKAGES:
        beside, found = Path(__file__).parent / name, _place(name)
        if found is not None and found.resolve() != beside.resolve():
            raise NameTaken(
                f"expected Halter's package {name!r} at {beside}, found another of that name at {found}: rename that "
                "one, or keep its folder off Python's path (the command `halter` does, and `python -P`)",
                name=name,
            )
        if getattr(import_module(name), "DISTRIBUTION", None) != DISTRIBUTION:
            raise NameTaken(
                f"expected Halter's package {name!r} at {beside}, found another of that name in its place: uninstall "
                f"the distribution that brought it, and install {DISTRIBUTION} again",
                name=name,
            )


def main() -> None:
    """Run the command line. If it cannot be, the user gets one sentence without a traceback."""
    try:
        expect_our_own()
    except NameTaken as taken:
        sys.exit(f"halter: {taken}")
    from processors.extras import ExtraMissing, expect_extra

    try:
        expect_extra("cli", "the command line")
    except ExtraMissing as missing:
        sys.exit(f"halter: {missing}")
    from halter.cli import command as run

    run()


def _place(name: str) -> Path | None:
    """Return the place of a package or module, or where it would be imported from. Nothing is imported."""
    module = sys.modules.get(name)
    spec = find_spec(name) if module is None else module.__spec__
    if spec is None:
        return None
    found = next(iter(spec.submodule_search_locations or ()), spec.origin)
    return None if found is None else Path(found)
