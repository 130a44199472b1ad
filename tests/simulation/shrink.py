"""Makes a failing plan smaller as long as it fails in the same way: first without faults, then without inputs."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.simulation.plan import Plan
from tests.simulation.simulate import Result, simulate

T = TypeVar("T")
Simulate = Callable[[Plan], Result]


def shrunk(result: Result, run: Simulate = simulate, attempts: int = 300) -> Result:
    """Return a result that fails as this one does, with a plan from which nothing can be left out; or the best after
    so many attempts.
    """
    left = attempts
    how = manner(result)

    def fails(plan: Plan) -> Result | None:
        nonlocal left
        left -= 1
        smaller = run(plan)
        return smaller if manner(smaller) == how else None

    def without(current: Result, items: Sequence[T], drop: Callable[[Plan, Sequence[T]], Plan]) -> Result:
        """Leave out smaller and smaller chunks."""
        kept, size = list(items), max(1, len(items) // 2)
        while left > 0:
            start = 0
            while start < len(kept) and left > 0:
                chunk = kept[start : start + size]
                smaller = fails(drop(current.plan, chunk))
                if smaller is None:
                    start += size
                else:
                    current = smaller
                    del kept[start : start + size]
            if size == 1:
                break
            size = max(1, size // 2)
        return current

    result = without(result, result.plan.faults, lambda plan, faults: plan.without(faults=faults))
    # The first post is the definitions.
    result = without(result, result.plan.posts[1:], lambda plan, posts: plan.without(posts=posts))
    return without(result, result.plan.faults, lambda plan, faults: plan.without(faults=faults))


def manner(result: Result) -> str:
    """Return how it failed: the problem without names and numbers."""
    kinds = re.findall(r"\b(lost|doubled|out of order|from nowhere|seq|state|decided|task|timer):", result.problem)
    return kinds[0] if kinds else re.sub(r"^\w+ ended with", "ended with", result.problem).split(":")[0]
