"""The rules: what a command does to a WfRun, as pure functions over records.

engine       the one loop that joins the other parts, and replay
decide       what was asked: each command's own effect, or why it is refused
advance      what the state now implies, until nothing more follows; agenda: which threads it looks at
evolve       what an event means; total, it never refuses; indexing: how it keeps the index
halting      who stands still, and who goes on
interrupts   which threads accept an ExternalEvent; handlers: when handlers start; room: the cap on live threads
external_events  how a WfRun reads ExternalEvents that came before it
failing      what a failure does to a node, its thread and the threads around it
dropping     accepted interrupts that no handler can start for any more
retiring     what leaves the state with a thread, and what has to stay
cancelling   which task attempts an event makes useless: advice for task workers, on no log
nodes        what each kind of node does
knots        threads that wait for each other in a circle
correlation_keys  the keys by which events find a WfRun; correlating: which WfRuns have a key, and what waits for one
scope        the Variables that a thread sees
context      the definitions and limits that rules may look at; bounds: how much an event weighs
quarantine   inputs that are kept instead of decided
versions     the versions of the rules, and what each decides otherwise than the one before; no rule looks at it
snapshots    the state of a WfRun as a value, and as a fork has it; possible: which states a fork may start from
migrating    what another version of its WfSpec makes of the state of a WfRun, or why it cannot
restoring    the notes that rules have of a WfRun whose rows came from elsewhere
waiting      what a thread waits for, as values, for tools

Who may change what:

- Rows: the own fields of a WfRun, its ThreadRuns and its ExternalEvents. Only `evolve` changes them, for an event. The
  engine sets the WfRun's time ahead, to that of the command, and puts its WfSpec at hand, as a migration does.
- The index, which follows from the rows. `evolve` keeps it with each event. Between two events the rules change only
  their notes in it: threads that are parked, that found no room, that have to stay, that wait across the tree, or whose
  interrupts became hopeless; and the steps of computing that are left. Few functions do that.
- A function that answers a question changes nothing.

`tests/core/test_who_changes_what.py` names the functions that change something, and checks all of this.
"""
