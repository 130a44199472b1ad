"""Where the files that Halter carries are: `topics.yaml`, `schemas/`, `examples/`.

In a checkout they lie at the top of the tree, where people look for them; in a wheel they lie under
`processors/_data`. Nobody else needs to know which of the two is running.
"""

from pathlib import Path

from processors.core.records.errors import HalterError

PACKAGE = Path(__file__).resolve().parent.parent


class MissingResource(HalterError):
    """A file that Halter carries is not there: reinstall it, or repair the checkout."""


def resource(name: str) -> Path:
    """Return the path of a carried file or folder, e.g. `topics.yaml`, `schemas/commands`, `examples/cart`.

    Raises MissingResource if neither the wheel nor the checkout has it.
    """
    candidates = [PACKAGE / "_data" / name]
    # Only a checkout has pyproject.toml beside the package; site-packages may hold a stranger's `schemas`.
    if (PACKAGE.parent / "pyproject.toml").is_file():
        candidates.append(PACKAGE.parent / name)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked_at = " and ".join(str(candidate) for candidate in candidates)
    raise MissingResource(f"expected '{name}' among the files of Halter, found nothing at {looked_at}")
