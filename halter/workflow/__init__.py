"""Workflows in Python: functions that write down a WfSpec, as a YAML document does.

    arguments     what statements are given, checked for its type
    expressions   what a WfSpec computes: Variables and operators on them
    definitions   what a workflow names: ExternalEventDefs, WorkflowEventDefs, TaskDefs and functions that do tasks
    places        the line of the program at which something was written
    drafts        nodes and edges that are not finished
    thread        the builder that a thread function is given
    workflow      the whole: from thread functions to a WfSpec, or to problems with file and line
    named         finds a Workflow that a text names, such as `shop/workflow.py:order`
    source        the other way: a WfSpec as a program that makes it

A thread function runs once, when the WfSpec is made. It never runs again: nothing is replayed, and what it reads from
the clock or from elsewhere is read then.

Knows the form of WfSpecs. Knows no Kafka, and no rule: the core says what is wrong with a WfSpec.
"""

from halter.workflow.definitions import ExternalEventDef, TaskDef, WorkflowEventDef
from halter.workflow.expressions import (
    Expr,
    Operand,
    Output,
    Variable,
    add,
    and_,
    expr,
    format_,
    list_,
    literal,
    multiply,
    or_,
    output,
    variable,
)
from halter.workflow.thread import Thread, ThreadFunction, thread_name
from halter.workflow.workflow import Workflow
from processors.core.records.spec import Backoff
from processors.core.records.values import Timestamp

__all__ = [
    "Backoff",
    "Expr",
    "ExternalEventDef",
    "Operand",
    "Output",
    "TaskDef",
    "Thread",
    "ThreadFunction",
    "Timestamp",
    "Variable",
    "Workflow",
    "WorkflowEventDef",
    "add",
    "and_",
    "expr",
    "format_",
    "list_",
    "literal",
    "multiply",
    "or_",
    "output",
    "thread_name",
    "variable",
]
