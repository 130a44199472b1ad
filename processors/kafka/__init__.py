"""Kafka as the engine sees it: settings of its clients, the topics of topics.yaml, the partition of a key.

    settings                      the settings of an installation: makes the configuration of every client
    properties, property_checks   librdkafka's properties as users set them; which of them a client may have
    own_variables                 Halter's own variables, HALTER_*
    client_errors                 the errors that librdkafka reports beside its calls
    fencing                       the errors that say that a newer producer holds a transactional id
    topics                        the topics as values
    topics_file, yaml_fields      reads topics.yaml, and names line and field of a problem
    topic_check                   compares a cluster with topics.yaml
    partitioner                   the partition of a key
    headers                       the headers of a message
    trace_context, tracing        the context of a trace in headers; spans, by OpenTelemetry

Knows how to speak to a cluster; knows nothing of what is in a record.
"""
