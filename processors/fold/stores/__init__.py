"""Where a shard keeps its WfRuns: as rows, encoded, in a store; decoded while commands touch them.

The rows are those of the state topics, byte for byte, so the store and Kafka can be compared and one restored from the
other. `WfRuns` decodes on touch and forgets what rests; a `WfRunStore` holds the rows: `MemoryStore` in this process,
`RocksStore` (processors.fold.stores.rocks, with the extra `halter-kafka[rocksdb]`) on disk. No store is ever asked to
undo something: a shard whose turn was aborted is dropped, with what it had not committed.
"""

from processors.fold.stores.glance import Glance
from processors.fold.stores.memory import MemoryStore
from processors.fold.stores.store import BrokenState, Row, StateFiles, StatePosition, WfRunStore
from processors.fold.stores.wf_runs import WfRuns

__all__ = [
    "BrokenState",
    "Glance",
    "MemoryStore",
    "Row",
    "StateFiles",
    "StatePosition",
    "WfRunStore",
    "WfRuns",
]
