"""The rules: what a command does to a WfRun, as pure functions over records.

engine              the one loop that joins the other parts, and replay
decide              what was asked: each command's own effect, or why it is refused
advance             what the state now implies, until nothing more follows
evolve              what an event means; total, it never refuses
halting             who stands still, and who goes on
interrupts, failing what an ExternalEvent and a failure do to a thread
nodes               what each kind of node does
knots               threads that wait for each other in a circle
"""
