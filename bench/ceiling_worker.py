"""The ceiling: a worker whose fold decodes nothing, and emits as many records of the same sizes as the real one.

    python -m bench.ceiling_worker --slot NAME [--ready-file FILE]

The rules compute the outputs of one interrupt once. The worker then answers every ExternalEvent with these bytes under
the event's own key. As in the real fold, it writes events for each interrupt, and rows once per WfRun and turn, to the
partition that it owns. Everything around the fold is that of the real worker: consumers, transaction, commits,
restore. All keys get the rows of one WfRun, so no real worker may ever read these topics.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.wf_specs import DEFINITIONS, INTERRUPT, wf_run_id
from processors.codec import Codec
from processors.core.records.commands import ExternalEvent, RunWf
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import EXTERNAL_EVENTS
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.fold.shard_folds import ShardFolds
from processors.kafka.settings import Settings
from processors.runtime.group.clients import Slot
from processors.worker import app
from processors.worker.logs import configure_logging
from processors.worker.ready_file import ReadyFile
from tests.support.shard_rig import ShardRig

LOG: Final = "wf-events"
POSITIONS: Final = "fold-positions"
WF_RUN_ID: Final = wf_run_id(0)


def what_an_interrupt_comes_to() -> Sequence[OutputRecord]:
    """Return the outputs of one interrupt that is folded in a turn of its own."""
    rig = ShardRig()
    rig.turn(*DEFINITIONS)
    rig.turn(RunWf(WF_RUN_ID, INTERRUPT.name))
    before = len(rig.outputs)
    rig.turn(ExternalEvent(WF_RUN_ID, "add", "00000001", 1))
    return rig.outputs[before:]


class CeilingFold(ShardFold):
    """A fold that answers ExternalEvents from a template."""

    template: Sequence[OutputRecord] = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._events = [output for output in self.template if output.topic == LOG]
        rows = [output for output in self.template if output.topic not in {LOG, POSITIONS}]
        self._kept_rows = [(output, (output.key or b"").removeprefix(WF_RUN_ID.encode())) for output in rows]
        self._answered: dict[bytes, None] = {}

    def read(self, record: InputRecord) -> ReadInput:
        """Decode nothing of an ExternalEvent."""
        return ReadInput(record) if record.topic == EXTERNAL_EVENTS else super().read(record)

    def fold(self, read: ReadInput) -> None:
        """Emit the events of one interrupt."""
        record = read.record
        if record.topic != EXTERNAL_EVENTS or record.key is None:
            super().fold(read)
            return
        self._offsets[record.topic] = record.offset + 1
        self._moved = True
        key = record.key
        self._outputs += [output._replace(partition=self.partition, key=key) for output in self._events]
        self._answered[key] = None

    @property
    def unwritten(self) -> int:
        """The number of WfRuns whose rows are behind."""
        return len(self._answered) or super().unwritten

    def take_outputs(self, *, rows: bool = True) -> Sequence[OutputRecord]:
        """Add the rows of each WfRun once if they are wanted, and return all outputs."""
        if rows:
            for key in self._answered:
                self._outputs += [
                    output._replace(partition=self.partition, key=key + rest) for output, rest in self._kept_rows
                ]
            self._answered.clear()
        return super().take_outputs(rows=rows)


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", required=True)
    parser.add_argument("--ready-file", type=Path, default=None)
    options = parser.parse_args()
    configure_logging()
    try:
        settings = Settings.load(None, os.environ, {})
        topics = settings.topics()
        app.expect_topics(settings, topics)
        codec = Codec.load()
        CeilingFold.template = what_an_interrupt_comes_to()
        definitions = DefinitionsView(codec)
        factory = ShardFolds(topics.partitions, codec, definitions, new_fold=CeilingFold)
        worker = app.build(settings, topics, factory, definitions, slot=Slot(options.slot, static=True))
        app.run(worker, ReadyFile(options.ready_file) if options.ready_file else None)
    except HalterError as error:
        sys.exit(f"halter: {error}")


if __name__ == "__main__":
    main()
