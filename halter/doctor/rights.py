"""Says what this principal may do: which services of topics.yaml it can be, or what one service lacks.

Kafka's own authorizer answers, for each topic and group, so nothing is written to find out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from halter.doctor.cluster import ASK_SECONDS, Cluster, Refused
from halter.doctor.findings import Finding, Verdict, listed
from halter.topics.acls import Acl, of_service, services_named
from processors.kafka.fencing import FENCED
from processors.kafka.topics import Service

SLOT: Final = "doctor"
"""Ends the transactional id that is tried, where a service may use all that begin with something."""


def rights(cluster: Cluster, service: str | None, *, tries: bool) -> Iterator[Finding]:
    """Say which services this principal can be, or what it lacks for one. `tries`: a transactional id may be used."""
    if service is not None:
        (wanted,) = services_named(cluster.topics, service)
        yield from _of_one(cluster, wanted, tries=tries)
        return
    lacking = {it.name: len(_lacking_topics(cluster, it)) for it in cluster.topics.services}
    able = [name for name, count in lacking.items() if not count]
    data = {"services": able}
    who = _who(cluster)
    if len(able) == len(lacking):
        yield Finding(Verdict.FINE, f"{who} may do what every service of topics.yaml does", data=data)
    elif able:
        yield Finding(Verdict.FINE, f"{who} may do what these services do: {', '.join(able)}", data=data)
    else:
        nearest = min(lacking, key=lambda name: lacking[name])
        yield Finding(
            Verdict.WRONG,
            f"{who} has the rights of no service of topics.yaml; {nearest} lacks the fewest, {lacking[nearest]}",
            f"`halter doctor --service {nearest}` names them, `halter topics acls --service {nearest}` prints the "
            "commands that grant them",
            data,
        )


def _who(cluster: Cluster) -> str:
    name = cluster.settings.properties.get("sasl.username")
    return "this principal" if name is None else f"User:{name}"


def _of_one(cluster: Cluster, service: Service, *, tries: bool) -> Iterator[Finding]:
    lacking = [
        *_lacking_topics(cluster, service),
        *_lacking_groups(cluster, service),
        *(_lacking_ids(cluster, service) if tries else ()),
    ]
    data = {
        "service": service.name,
        "lacking": [{"resource": it.resource_type, "name": it.name, "operation": it.operation} for it in lacking],
    }
    who = _who(cluster)
    if lacking:
        yield Finding(
            Verdict.WRONG,
            f"{who} lacks rights of {service.name}: {_by_operation(lacking)}",
            f"`halter topics acls --service {service.name}` prints the commands that grant them",
            data,
        )
    else:
        count = len(service.consumes), len(service.produces)
        yield Finding(
            Verdict.FINE, f"{who} may do what {service.name} does: read {count[0]} topics, write {count[1]}", data=data
        )


def _by_operation(lacking: Sequence[Acl]) -> str:
    names = defaultdict(list)
    for acl in lacking:
        kind = "" if acl.resource_type == "TOPIC" else f" {acl.resource_type.replace('_', ' ').lower()}"
        names[acl.operation.title().replace("_", "") + kind].append(acl.name)
    return "; ".join(f"{operation} {listed(of)}" for operation, of in names.items())


def _lacking_topics(cluster: Cluster, service: Service) -> list[Acl]:
    """Return the rights on topics that a service needs and this principal has not. A missing topic lacks none."""
    shapes, of_cluster = cluster.shapes(), cluster.brokers().rights
    lacking = []
    for acl in of_service(service):
        if acl.resource_type != "TOPIC" or acl.name in shapes.missing:
            continue
        has = shapes.there[acl.name].rights if acl.name in shapes.there else frozenset[str]()
        if acl.operation not in has and not (acl.operation == "CREATE" and "CREATE" in of_cluster):
            lacking.append(acl)
    return lacking


def _lacking_groups(cluster: Cluster, service: Service) -> Iterator[Acl]:
    for acl in of_service(service):
        if acl.resource_type == "GROUP":
            try:
                has = cluster.group(acl.name).rights
            except Refused:
                has = frozenset()
            # Kafka tells the rights to a group that is used. One that is not it has let us ask for.
            if has is not None and acl.operation not in has:
                yield acl


def _lacking_ids(cluster: Cluster, service: Service) -> Iterator[Acl]:
    for acl in of_service(service):
        if acl.resource_type == "TRANSACTIONAL_ID":
            name = acl.name + SLOT if acl.pattern == "PREFIXED" else acl.name
            if not _may_use(cluster, name):
                yield acl


def _may_use(cluster: Cluster, transactional_id: str) -> bool:
    with cluster.transactional:
        producer = Producer(cluster.settings.producer(transactional_id=transactional_id))
        try:
            producer.init_transactions(ASK_SECONDS)
        except KafkaException as exception:
            code = exception.args[0].code()
            if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
                return False
            if code not in FENCED:  # by another doctor, at the same time: Kafka asks for the right before it compares
                raise
    return True
