"""The rules: what a command does to a WfRun, as pure functions over values.

Nothing in here reads a clock, a file, a socket or a random source, and nothing imports a framework: the same
records in the same order give the same events, byte for byte, wherever and whenever they are folded.

    values, expressions      what a Variable may hold and how a new value is computed
    spec, documents          what a WfSpec is, and how one is read from its document
    validate, definitions    which definitions are accepted, and under which version
    commands, events, model  what is asked, what happened, what is so now
    decide, advance          the rules: what was asked, what the state now implies
    evolve                   what an event means; total, it never refuses
    engine                   the one loop that joins the three, and replay
"""
