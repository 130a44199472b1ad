"""Lists the rights that `services` of topics.yaml implies. Pure: computes and prints, grants nothing."""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from processors.core.records.errors import HalterError
from processors.kafka.topics import Service, Topics


class UnknownService(HalterError):
    """topics.yaml does not have such a service. Whoever asked for it chooses another, or declares it."""


@dataclass(frozen=True, slots=True)
class Acl:
    """A right, in Kafka's words. `resource_type`: TOPIC, GROUP or TRANSACTIONAL_ID. `pattern`: LITERAL or PREFIXED."""

    service: str
    principal: str
    resource_type: str
    name: str
    pattern: str
    operation: str


CONSUME: Final = ("READ",)
PRODUCE: Final = ("WRITE",)
INSPECT: Final = ("DESCRIBE", "DESCRIBE_CONFIGS")
ADMINISTER: Final = ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS")

OPTIONS: Final = {"TOPIC": "--topic", "GROUP": "--group", "TRANSACTIONAL_ID": "--transactional-id"}


def acls(topics: Topics, service: str | None = None) -> list[Acl]:
    """Return the rights of all services, or of one. Raises UnknownService."""
    return [acl for it in services_named(topics, service) for acl in of_service(it)]


def services_named(topics: Topics, service: str | None) -> tuple[Service, ...]:
    """Return the service with that name, or all of them if none is named. Raises UnknownService."""
    found = tuple(it for it in topics.services if service in {None, it.name})
    if service is not None and not found:
        known = ", ".join(sorted(it.name for it in topics.services))
        raise UnknownService(f"service '{service}' is not in {topics.file}; there are: {known}")
    return found


def of_service(service: Service) -> Iterator[Acl]:
    """Yield each right of a service once, grouped by resource."""
    wanted = [
        *(("TOPIC", name, operation) for name in service.consumes for operation in CONSUME),
        *(("TOPIC", name, operation) for name in service.produces for operation in PRODUCE),
        *(("TOPIC", name, operation) for name in service.inspects for operation in INSPECT),
        *(("TOPIC", name, operation) for name in service.administers for operation in ADMINISTER),
        *(("GROUP", name, "READ") for name in service.groups),
        *(("GROUP", name, "DESCRIBE") for name in service.inspects_groups),
        *(("TRANSACTIONAL_ID", name, "WRITE") for name in service.transactional_ids),
    ]
    # Kafka derives Describe from Read and from Write.
    described = {(kind, name) for kind, name, operation in wanted if operation in {"READ", "WRITE"}}
    wanted = [it for it in wanted if it[2] != "DESCRIBE" or it[:2] not in described]
    order = {resource: number for number, resource in enumerate(dict.fromkeys(it[:2] for it in wanted))}
    for resource_type, name, operation in sorted(dict.fromkeys(wanted), key=lambda it: order[it[:2]]):
        prefixed = name.endswith("*")
        yield Acl(
            service.name,
            service.principal,
            resource_type,
            name.removesuffix("*") if prefixed else name,
            "PREFIXED" if prefixed else "LITERAL",
            operation,
        )


def commands(rights: Iterable[Acl], bootstrap: str) -> Iterator[str]:
    """Yield a `kafka-acls` command for each principal and resource, and a comment before each service."""
    for service, of_one in groupby(rights, key=lambda it: it.service):
        yield f"# {service}"
        for (principal, kind, name, pattern), group in groupby(
            of_one, key=lambda it: (it.principal, it.resource_type, it.name, it.pattern)
        ):
            words = ["kafka-acls", "--bootstrap-server", bootstrap, "--add", "--allow-principal", principal]
            for acl in group:
                words += ["--operation", acl.operation.title().replace("_", "")]
            words += [OPTIONS[kind], name, "--resource-pattern-type", pattern.lower()]
            yield shlex.join(words)
