"""`halter doctor`: looks at an installation from outside, says what is wrong with it, and how to mend that.

It leaves no record that a reader of committed records sees, and changes no setting.

findings     what a check found: a verdict, a sentence, the way to mend it
examination  runs checks side by side, each with its own time-out; none takes another one down
cluster      what several checks ask of Kafka, asked once
connection   brokers and versions
topics       topics, settings and replicas against topics.yaml
rights       what this principal may do, by service
writing      a transaction that is begun and aborted, and clocks
hanging      transactions that nobody ends
workers      the group of the workers, what nobody has folded yet, partitions that stand still
quarantine   WfRuns in quarantine
standing     the same of what waits to be folded, as data
letters      dead letters
schemas      which release has written the newest records
beside       what is not in Kafka: Schema Registry, view, health ports
view         how far the view is
checkup      all checks of an installation, in the order of the report
report       the report as text and as data
"""
