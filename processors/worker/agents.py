"""The Faust agent of a worker: it takes a batch, folds it record after record, and hands over what came of it.

It knows no rule, which the fold does, and no Kafka, which the runtime does. The batch reports an exception of a fold.
Anything else that ends the agent ends the worker, because a restarted agent would have lost its batch.
"""

from typing import Any

import faust
from mode.supervisors import CrashingSupervisor

from processors.runtime.turn.batch import Batch


def fold_agent(app: faust.App, channel: faust.ChannelT[Any]) -> faust.types.AgentT[Any]:
    """Attach the agent to a channel of batches."""

    async def fold(batches: faust.StreamT[Any]) -> None:
        async for item in batches:
            fold_batch(item)

    return app.agent(channel, name="fold", supervisor_strategy=CrashingSupervisor)(fold)


def fold_batch(batch: Batch) -> None:
    """Fold the records of one shard in one turn."""
    with batch:
        for read in batch:
            batch.fold.fold(read)
        batch.hand_over(batch.fold.take_outputs(rows=batch.part.rows))
