"""One codec for all tests of a process: compiling the schemas takes longer than most tests."""

from functools import cache

from processors.codec import Codec


def the_codec(release: str | None = None) -> Codec:
    """Return the codec that writes the schemas of a release, by default today's."""
    return _compiled(release)


@cache
def _compiled(release: str | None) -> Codec:
    return Codec.load(release=release)
