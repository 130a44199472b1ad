"""Puts the parts of the runtime together. No I/O: clients are made when the runtime starts, except the admin's,
which connects when it is first asked."""

from typing import Any

import faust

from processors.fold.contract import FoldFactory, SharedDefinitions
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clients import Clients, Slot
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import ShardTopics
from processors.runtime.group.readiness import Readiness
from processors.runtime.group.steps import Steps
from processors.runtime.group.transaction import Transaction
from processors.runtime.loading.checkpoints import Checkpoints
from processors.runtime.loading.definitions import DefinitionsReader
from processors.runtime.loading.load import Loader
from processors.runtime.loading.settlement import Settlement
from processors.runtime.loading.vacancies import Vacancies
from processors.runtime.service import Runtime
from processors.runtime.turn.shards import Shards
from processors.runtime.turn.turns import Turns


def assemble(
    app: faust.App,
    channel: faust.ChannelT[Any],
    settings: Settings,
    topics: Topics,
    factory: FoldFactory,
    definitions: SharedDefinitions,
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
    definitions: SharedDefinitions,
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
