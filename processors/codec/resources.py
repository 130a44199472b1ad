"""Finds the files that come with Halter: `topics.yaml`, `schemas/`, `examples/`.

In a checkout they lie at the top of the tree, where people look for them; in a wheel they lie under `processors/_data`.
No other module needs to know which of the two is running.
"""

from pathlib import Path

from processors.core.records.errors import HalterError

PACKAGE = Path(__file__).resolve().parent.parent


class MissingResource(HalterError):
    """A file that comes with Halter is missing. Reinstall Halter, or repair the checkout."""


def resource(name: str) -> Path:
    """Return the path of such a file or folder, e.g. `topics.yaml`, `schemas/commands`, `examples/cart`.

    Raises MissingResource if neither the wheel nor the checkout has it.
    """
    candidates = [PACKAGE / "_data" / name]
    # Only a checkout has pyproject.toml beside the package. site-packages may hold the `schemas` of another package.
    if (PACKAGE.parent / "pyproject.toml").is_file():
        candidates.append(PACKAGE.parent / name)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked_at = " and ".join(str(candidate) for candidate in candidates)
    raise MissingResource(f"expected '{name}' among the files of Halter, found nothing at {looked_at}")
