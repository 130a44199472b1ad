"""The correlation keys of a WfRun: by which key the events of an ExternalEventDef find it.

Its WfSpec has an expression for each, over the Variables of thread 0. Knows the WfRun alone: `correlating` knows which
WfRuns have a key.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from processors.core.records.events import CorrelationKeyChanged
from processors.core.records.model import CorrelationKey, WfRun
from processors.core.records.names import check_correlation_key
from processors.core.records.spec import Expression
from processors.core.records.values import TellableProblem, Value, ValueProblem, kind_of
from processors.core.rules.context import Context
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import evaluate

NO_KEY: Final = CorrelationKey()


# (rules keys-follow-variables, keys-end-with-the-wf-run)
def changed_keys(run: WfRun, context: Context) -> Iterator[CorrelationKeyChanged]:
    """Yield the keys that are others than before, by the names of their ExternalEventDefs.

    A WfRun that has ended has none. When this goes on after a `yield`, that event has happened.
    """
    spec = run.spec
    if spec is None or not context.correlations:
        return
    expressions = spec.correlated_events if run.timer is None else {}
    keys = _keys_of(run, expressions, context)
    for event_def in sorted(keys.keys() | run.correlation_keys.keys()):
        now = keys.get(event_def, NO_KEY)
        if now != run.correlation_keys.get(event_def, NO_KEY):
            yield CorrelationKeyChanged(event_def, now.key, now.problem)


# (rule key-problem-is-no-key)
def _keys_of(run: WfRun, expressions: Mapping[str, Expression], context: Context) -> dict[str, CorrelationKey]:
    """Return the keys that expressions give now. All of them have the steps of one command, whatever it took itself."""
    steps_left, run.index.steps_left = run.index.steps_left, context.limits.steps_per_command
    try:
        return {event_def: _key_of(run, expressions[event_def]) for event_def in sorted(expressions)}
    finally:
        run.index.steps_left = steps_left


def _key_of(run: WfRun, expression: Expression) -> CorrelationKey:
    """Return the key that an expression gives now. What cannot be a key is a problem, and fails nothing."""
    try:
        value = evaluate(expression, ThreadScope(run, run.threads[0]))
        return NO_KEY if value is None else CorrelationKey(_text_of(value))
    except ValueProblem as problem:
        return CorrelationKey(problem=problem.unquoted)


def _text_of(value: Value) -> str:
    """Return a value as a key. An INT is written in decimal digits, so it is the same key as that STR."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise TellableProblem(f"expected STR or INT as a correlation key, found {kind_of(value)}")
    check_correlation_key(value)
    return value
