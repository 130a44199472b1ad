"""Puts the parts of the runtime together, from the outside in: what is made last is what is called first.

No I/O: clients are made when the runtime starts, except the admin's, which connects when it is first asked.
"""

from typing import Any

import faust

from processors.fold.contract import FoldFactory, SharedDefinitions
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clients import Clients, Slot
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.crash_points import CrashPoints
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import ShardTopics
from processors.runtime.group.readiness import Readiness
from processors.runtime.group.transaction import Transaction
from processors.runtime.loading.checkpoints import Checkpoints
from processors.runtime.loading.definitions import DefinitionsReader
from processors.runtime.loading.load import Loader
from processors.runtime.loading.settlement import Settlement
from processors.runtime.loading.vacancies import Vacancies
from processors.runtime.service import Runtime
from processors.runtime.turn.arrivals import Arrivals
from processors.runtime.turn.awaiting import AwaitingDefinitions
from processors.runtime.turn.committing import Committing
from processors.runtime.turn.due_timers import DueTimers
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.held_back import HeldBack
from processors.runtime.turn.joining import Joining
from processors.runtime.turn.listening import Listening
from processors.runtime.turn.measures import Measures
from processors.runtime.turn.patience import Patience
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.pausing import Pausing
from processors.runtime.turn.polling import Polling
from processors.runtime.turn.rows_due import RowsDue
from processors.runtime.turn.shards import Shards
from processors.runtime.turn.turn_size import TurnSize
from processors.runtime.turn.turns import Turns


def assemble(
    app: faust.App,
    channel: faust.ChannelT[Any],
    settings: Settings,
    topics: Topics,
    factory: FoldFactory,
    definitions: SharedDefinitions,
    slot: Slot,
    crash_points: CrashPoints,
    readiness: Readiness,
    clock: Clock = CLOCK,
    measures: Measures | None = None,
) -> Runtime:
    """Return a runtime that is ready to be started. It measures what it does if there are `measures` to be filled."""
    calls = KafkaCalls(readiness, clock)
    clients = Clients(settings, topics, slot)
    turns = turns_of(
        clients,
        ShardTopics(topics.prefix, factory),
        factory,
        definitions,
        calls,
        readiness,
        crash_points,
        clock,
        measures,
    )
    return Runtime(app, channel, turns, calls, readiness, crash_points, clock)


def turns_of(
    clients: Clients,
    names: ShardTopics,
    factory: FoldFactory,
    definitions: SharedDefinitions,
    calls: KafkaCalls,
    readiness: Readiness,
    crash_points: CrashPoints,
    clock: Clock,
    measures: Measures | None = None,
) -> Turns:
    """Return what a worker's Kafka thread does, with these clients and this clock."""
    membership = Membership(clients, names, clock)
    transaction = Transaction(clients, names, membership, calls, crash_points)
    cluster = Cluster(clients, clock)
    settlement = Settlement(cluster, names, transaction, clients.transactional_id, clock)
    load_seconds = None if measures is None else measures.load_seconds
    loader = Loader(
        clients, names, factory, definitions, cluster, settlement, transaction, crash_points, clock, load_seconds
    )
    reader = DefinitionsReader(clients, names, definitions, calls, clock)
    pauses, size, patience = Pauses(), TurnSize(), Patience(clock=clock)
    figures = Figures() if measures is None else measures.figures
    shards = Shards(names, membership, loader.load, readiness, Checkpoints(cluster, names, clock), pauses, clock)
    pausing = Pausing(shards, pauses, membership, names, patience, figures)
    listening = Listening(membership, transaction, calls, clock)
    vacancies = Vacancies(clients, cluster, names.wf_commands, clock)
    committing = Committing(
        transaction=transaction,
        shards=shards,
        pausing=pausing,
        patience=patience,
        listening=listening,
        crash_points=crash_points,
        figures=figures,
        measures=measures,
        clock=clock,
    )
    membership.interrupted = committing.commit
    if measures is not None:
        membership.statistics = lambda statistics: measures.heard(statistics, shards.owned, names, pauses)
    return Turns(
        joining=Joining(membership, vacancies, shards, calls, readiness, patience),
        transaction=transaction,
        definitions=reader,
        shards=shards,
        polling=Polling(
            arrivals=Arrivals(membership, shards, figures, clock),
            listening=listening,
            awaiting=AwaitingDefinitions(reader, shards, clock, committing.commit),
            timers=DueTimers(shards, pauses, pausing, clock),
            held_back=HeldBack(membership, shards, pauses, names.definition_commands),
            pausing=pausing,
            rows_due=RowsDue(shards, pauses, clock),
            shards=shards,
            size=size,
        ),
        committing=committing,
        calls=calls,
        crash_points=crash_points,
        size=size,
        figures=figures,
        measures=measures,
    )
