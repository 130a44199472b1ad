"""The fold of a partition: input records in; log entries, state rows, what task workers read and dead letters out.

Joins the pure core to bytes. Knows no Kafka client, no clock and no transaction: `runtime` feeds it and writes its
outputs.

    contract                   the contract between the runtime and a fold
    shard_fold, shard_folds    the fold of one shard; the folds of a worker
    inputs                     from a record to a command or a dead letter
    outputs, output_encoder    the records that a fold hands out; how they are encoded
    rows                       from a WfRun to the rows that changed, and from rows to a WfRun
    operator_commands          commands of operators: quarantine, release, skip
    kept_inputs                inputs of a WfRun in quarantine
    correlation_fold           correlation keys: who has them, and what waits for one
    definition_commands        commands that put or delete definitions
    definitions_view           the definitions that a worker knows
    timers                     the timers in the order in which they are due
    census                     how WfRuns stand, counted as they move, for metrics
    tally                      what was counted since the worker started, of all partitions, for metrics
    tracing                    spans of what is folded, and the trace context that goes on with it
    restoration                the load of a shard's state
    log_tail                   the entries of the log that are not in the rows yet
    stores                     the rows of a partition, in memory or on disk
"""
