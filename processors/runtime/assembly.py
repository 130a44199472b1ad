"""Puts the parts of the runtime together. No I/O: clients are made when the runtime starts, except the admin's,
which connects when it is first asked."""

from typing import Any

import faust

from processors.runtime.calls import KafkaCalls
from processors.runtime.checkpoints import Checkpoints
from processors.runtime.clients import Clients, Slot
from processors.runtime.clock import CLOCK, Clock
from processors.runtime.cluster import Cluster
from processors.runtime.definitions import DefinitionsReader
from processors.runtime.fold import Definitions, FoldFactory
from processors.runtime.load import Loader
from processors.runtime.membership import Membership
from processors.runtime.names import ShardTopics
from processors.runtime.readiness import Readiness
from processors.runtime.runtime import Runtime
from processors.runtime.settlement import Settlement
from processors.runtime.shards import Shards
from processors.runtime.steps import Steps
from processors.runtime.transaction import Transaction
from processors.runtime.turns import Turns
from processors.runtime.vacancies import Vacancies
from processors.settings import Settings
from processors.topics import Topics


def assemble(
    app: faust.App,
    channel: faust.ChannelT[Any],
    settings: Settings,
    topics: Topics,
    factory: FoldFactory,
    definitions: Definitions,
    slot: Slot,
    steps: Steps,
    readiness: Readiness,
    clock: Clock = CLOCK,
) -> Runtime:
    """Return a runtime that is ready to be started."""
    calls = KafkaCalls(readiness, clock)
    clients = Clients(settings, topics, slot)
    turns = turns_of(clients, ShardTopics(topics.prefix, factory), factory, definitions, calls, readiness, steps, clock)
    return Runtime(app, channel, turns, calls, readiness, steps, clock)


def turns_of(
    clients: Clients,
    names: ShardTopics,
    factory: FoldFactory,
    definitions: Definitions,
    calls: KafkaCalls,
    readiness: Readiness,
    steps: Steps,
    clock: Clock,
) -> Turns:
    """Return what a worker's Kafka thread does, with these clients and this clock."""
    membership = Membership(clients, names, clock)
    transaction = Transaction(clients, names, membership, calls, steps)
    cluster = Cluster(clients, clock)
    settlement = Settlement(cluster, names, transaction, clients.transactional_id, clock)
    loader = Loader(clients, names, factory, definitions, cluster, settlement, transaction, steps, clock)
    shards = Shards(names, membership, loader.load, readiness, Checkpoints(cluster, names, clock), clock)
    return Turns(
        names=names,
        membership=membership,
        shards=shards,
        transaction=transaction,
        definitions=DefinitionsReader(clients, names, definitions, calls, clock),
        calls=calls,
        readiness=readiness,
        steps=steps,
        vacancies=Vacancies(clients, cluster, names.wf_commands, clock),
        clock=clock,
    )
