"""Replays a range of the recorded inputs into topics of its own, for debugging. It writes to no topic of the source.

    bounds          where a range begins and ends: a time, or an input record
    ranges          the parts of the logs that the bounds mean, and why they cannot be replayed
    manifest        which replay a prefix has, and how far it is; it is kept on the topic `PREFIXreplay`
    destination     the topics of a replay: makes, recognises and removes them
    writing         writes records and progress in one transaction
    replaying       decides the inputs, and hands what comes of them to be written
    replay          runs a replay, or goes on with it

The inputs are decided by the fold that a worker runs, in their recorded order, from the state that the log says there
was (`halter.history.verifying`). They are not copied: causes name the records of the source (docs/adr/0019).
"""
