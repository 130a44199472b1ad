"""Puts the parts of the runtime together. No I/O: clients are made when the runtime starts, except the admin's,
which connects when it is first asked."""

from collections.abc import Callable
from typing import Any

import faust

from processors.runtime.calls import KafkaCalls
from processors.runtime.clients import Clients, Slot
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
from processors.runtime.turns import Turns, wall_clock_ms
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
    clock_ms: Callable[[], int] = wall_clock_ms,
) -> Runtime:
    """Return a runtime that is ready to be started."""
    names = ShardTopics(topics.prefix, factory)
    clients = Clients(settings, topics, slot)
    calls = KafkaCalls(readiness)
    membership = Membership(clients, names)
    transaction = Transaction(clients, names, membership, calls, steps)
    cluster = Cluster(clients)
    settlement = Settlement(cluster, names, transaction, clients.transactional_id)
    loader = Loader(clients, names, factory, definitions, cluster, settlement, transaction, steps)
    shards = Shards(names, membership, loader.load, readiness)
    turns = Turns(
        names=names,
        membership=membership,
        shards=shards,
        transaction=transaction,
        definitions=DefinitionsReader(clients, names, definitions, calls),
        calls=calls,
        readiness=readiness,
        steps=steps,
        clock_ms=clock_ms,
    )
    return Runtime(app, channel, turns, calls, readiness, steps)
