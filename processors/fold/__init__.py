"""The fold of a partition: input records in; log entries, state rows, task requests and dead letters out.

Joins the pure core to bytes. Knows no Kafka client, no clock and no transaction: `runtime` feeds it and writes what it
hands out.

    contract                              what the runtime asks of a fold
    shard_fold                            the fold itself
    inputs, outputs                       what makes a record a command or a dead letter; what a fold hands out
    operator_commands, definition_commands   the two inputs that are about no WfRun
    definitions_view                      what a worker knows of the definitions
    timers                                which timer is due next
    stores                                where the rows of a partition are
"""
