"""The core: the effect of a command on a WfRun, as pure functions over values.

Nothing in here reads a clock, a file, a socket or a random source, and nothing imports a framework. The same records in
the same order give the same events, byte for byte, wherever and whenever they are folded.

    records   commands, events, state, and the values that they are made of
    wf_spec   WfSpecs: read, checked, registered; what their expressions compute
    rules     decide, advance, evolve, and the loop that joins them
"""
