"""The transactional runtime: records in, folds, one Kafka transaction out; nothing lost, doubled or out of order.

From the outside in:

- `fold`         what a fold is to the runtime (Protocols), and the records that go in and out
- `runtime`      the service under the Faust app: turn after turn, in two threads
- `batch`        what an agent gets, and where its failure goes
- `turns`        one turn: poll, fix definitions, fold, commit; what to do when it cannot commit
- `transaction`  the transactional producer: the order of calls, the fence
- `membership`   the group: which shards are ours
- `shards`       the shards we own, and the loads on the way; `vacancies` shards of nobody
- `load`         settle (`settlement`), claim, restore (`restore`), begin
- `cluster`      questions about offsets and members, `group_offsets` about what is committed; `definitions` the shared
                 view of that topic
- `garbage`      the collector leaves restored state alone
- `calls`        no Kafka call fails or hangs unnoticed; `readiness` what the worker is doing
- `clock`        what time it is; `steps` where tests may end the process
- `assembly`     puts the parts together

`docs/adr/0001-one-transaction-per-turn.md` says why it is so.
"""

from processors.runtime.assembly import assemble
from processors.runtime.group.clients import Slot
from processors.runtime.group.readiness import Readiness, Snapshot, State
from processors.runtime.group.steps import CrashAt, Step, Steps
from processors.runtime.service import Runtime

__all__ = ["CrashAt", "Readiness", "Runtime", "Slot", "Snapshot", "State", "Step", "Steps", "assemble"]
