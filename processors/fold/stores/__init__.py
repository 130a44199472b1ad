"""The WfRuns of a shard: encoded rows in a store, decoded while commands touch them.

The rows are those of the state topics, byte for byte, so a store can be compared with Kafka and restored from it.
`WfRuns` decodes a WfRun on touch and drops it when it rests. A `WfRunStore` holds the rows: `MemoryStore` in this
process, `RocksStore` (processors.fold.stores.rocks, with the extra `halter-kafka[rocksdb]`) on disk. A store never has
to undo anything: a shard whose turn was aborted is dropped, with all that was not committed.

    store           what the fold needs of a store
    memory, rocks   the two stores
    choice          which of them a worker has
    wf_runs         the WfRuns of a partition as the rules see them
    remembered      the ExternalEvents of a WfRun, decoded on first use
    glance          the first fields of a row, for a load
"""

from processors.fold.stores.glance import Glance, Seen
from processors.fold.stores.memory import MemoryStore
from processors.fold.stores.store import BrokenState, Row, StateFiles, StatePosition, WfRunStore
from processors.fold.stores.wf_runs import WfRuns

__all__ = [
    "BrokenState",
    "Glance",
    "MemoryStore",
    "Row",
    "Seen",
    "StateFiles",
    "StatePosition",
    "WfRunStore",
    "WfRuns",
]
