"""Looks at what stands beside Kafka: Schema Registry, view, and the ports at which processes answer probes."""

import json
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from halter.doctor.findings import Finding, Skip, Verdict, listed
from processors.codec import Schemas
from processors.codec.framing import BothFramings, SingleObject
from processors.codec.registry import RegistryRefused, RegistryUnavailable, WireFormat
from processors.extras import ExtraMissing, expect_extra
from processors.kafka.own_variables import CONFLUENT
from processors.kafka.properties import REGISTRY_PREFIX
from processors.kafka.settings import Settings

PROBE_SECONDS: Final = 2.0
ANSWER_BYTES_MAX: Final = 1_000_000


def registry(settings: Settings) -> Iterator[Finding]:
    """Say whether the Schema Registry answers, and whether it has the schemas that are written with its ids."""
    if f"{REGISTRY_PREFIX}url" not in settings.properties:
        raise Skip("none is set")
    schemas = Schemas.load()
    asked = settings.registry(registers=False)
    wire = WireFormat(schemas, asked)
    wired = BothFramings(SingleObject(schemas), wire, writes_wire=True).wired
    try:
        if settings.framing != CONFLUENT:
            asked.schema(1)
            yield Finding(Verdict.FINE, f"{asked.url} answers; records are read with its ids, and written without")
            return
        for name in sorted(wired):
            wire.header(schemas.records[name])
    except RegistryRefused as refused:
        yield Finding(Verdict.WRONG, str(refused), "`halter schemas register` registers what is missing")
    except RegistryUnavailable as unavailable:
        yield Finding(Verdict.WRONG, str(unavailable), "start it, or correct schema.registry.url")
    else:
        yield Finding(Verdict.FINE, f"{asked.url} has all {len(wired)} schemas")


def view(url: str | None, prefix: str) -> Iterator[Finding]:
    """Say how far a view is. None: the usual file, if it is there."""
    try:
        expect_extra("view", "a view")
    except ExtraMissing as missing:
        if url is None:
            raise Skip(f"HALTER_VIEW names none, and {missing}") from missing
        raise
    from halter.doctor.view import look  # it needs the extra

    yield from look(url, prefix)


def health(addresses: Sequence[str], *, named: bool) -> Iterator[Finding]:
    """Ask processes how they are. `named`: the addresses were given; otherwise they come from HALTER_HEALTH_PORT."""
    if not addresses:
        raise Skip("no address is known; --health HOST:PORT names one")
    for address in addresses:
        yield _of_process(address, named=named)


def _of_process(address: str, *, named: bool) -> Finding:
    try:
        told = _asked(f"http://{address}/ready")
    except (OSError, HTTPException, ValueError) as error:
        said = f"nothing that Halter runs answers probes at {address}: {_reason(error)}"
        if not named:
            return Finding(Verdict.WARNING, said, "if it runs on another machine, name it: --health HOST:PORT")
        return Finding(
            Verdict.WRONG, said, "start the process with --health-port; --health-host lets other machines ask"
        )
    data = {"address": address, "answer": told}
    paused = told.get("paused") or {}
    if paused:
        sentences = "; ".join(f"partition {number}: {sentence}" for number, sentence in paused.items())
        return Finding(
            Verdict.WRONG,
            f"{address}: paused, {sentences}",
            "`halter quarantine WF_RUN`, mend the rule, then `halter release WF_RUN` (docs/operations.md)",
            data,
        )
    state = str(told.get("state") or ("ready" if told.get("ready") else "not ready"))
    if not told.get("ready"):
        reason = f": {told['reason']}" if told.get("reason") else ""
        restoring = told.get("restoring") or {}
        if restoring:
            reason = f": partition {listed(f'{number} to {share:.0%}' for number, share in restoring.items())}"
        return Finding(Verdict.WARNING, f"{address}: {state}{reason}", "wait, and look at its log if it goes on", data)
    quarantined = sum((told.get("quarantined") or {}).values())
    if quarantined:
        return Finding(
            Verdict.WARNING,
            f"{address}: {state}, {quarantined} WfRuns in quarantine",
            "mend the rule, then `halter release WF_RUN`",
            data,
        )
    return Finding(Verdict.FINE, f"{address}: {state}", data=data)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__


def _asked(url: str) -> dict[str, Any]:
    """Return what a process answers. One that is not ready answers 503, with the same. Raises OSError, ValueError."""
    try:
        with urlopen(url, timeout=PROBE_SECONDS) as answer:  # noqa: S310  the address is the operator's
            body = answer.read(ANSWER_BYTES_MAX)
    except HTTPError as error:
        body = error.read(ANSWER_BYTES_MAX)
    told = json.loads(body)
    if not isinstance(told, dict) or "ready" not in told:
        raise ValueError("something else listens there")
    return told
