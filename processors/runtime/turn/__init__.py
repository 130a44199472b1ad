"""One turn: poll, fold, commit; what follows when it cannot commit, or when a rule breaks.

In the order in which a record passes them:

- `turns`       writes one turn and begins the next: what the Kafka thread does
- `polling`     gathers the records of a turn
- `arrivals`    polls records and places them with their shards; `listening` sees that Kafka is there
- `awaiting`    lets records wait for the definitions that their producers saw
- `due_timers`  adds the timers that are due
- `rows_due`    says whose rows are to be written: rows follow the log
- `held_back`   keeps definition commands out that are not decided yet
- `turn`        the turn as a value
- `folding`     the event loop's half: it gives each shard's records to an agent, as a `batch`
- `committing`  hands over, commits or aborts

Beside them:

- `shards`      the shards that we own, and the loads on the way
- `pauses`      what a shard may do after a rule broke on it; `pausing` acts on that
- `joining`     into the group, and back into it
- `patience`    how many failures a worker bears; `turn_size` how many records a turn takes; `figures` what was done
- `measures`    what is measured for metrics: rates, times, how far a shard is behind

Stands on `loading` and `group`.
"""
