"""The model of Kafka that simulations stand on does what the broker and confluent_kafka do: the same calls in the same
order come to the same records, offsets and errors.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.simulation.experiments import EXPERIMENTS, random_experiment
from tests.simulation.laboratory import Experiment, in_reality, in_simulation

RANDOM = {f"random moves, seed {seed}": random_experiment(seed) for seed in range(16)}
ALL: dict[str, Experiment] = {**EXPERIMENTS, **RANDOM}


@pytest.fixture(scope="module")
def reality(bootstrap: str) -> Iterator[dict[str, "Future[Any]"]]:
    """What the broker says to all experiments: they mostly wait, so they are done beside one another."""
    with ThreadPoolExecutor(6) as pool:
        yield {name: pool.submit(in_reality, bootstrap, experiment) for name, experiment in ALL.items()}


@pytest.mark.parametrize("name", ALL)
def test_the_model_does_what_the_broker_does(name: str, reality: dict[str, "Future[Any]"]) -> None:
    expected = reality[name].result(120)
    assert in_simulation(ALL[name]) == expected
