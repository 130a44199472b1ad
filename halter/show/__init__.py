"""Shows histories, WfRuns, waits and WfSpecs as text or as plain data, with masked values taken out.

Reads nothing from Kafka itself: `halter.client` does.

    log_text, history_table  events as lines, and as a table that fits the terminal
    history                  events as lines with what caused them
    wf_run_text              the state of a WfRun
    waiting_text             what a thread waits for
    dead_letters             a dead letter, and what to do about it
    definition_text          what has changed between definitions
    yaml_text                a WfSpec as a person would write it
    diagram, diagram_text    a WfSpec as a Mermaid flowchart; what its parts say
    drawing, layers          where the nodes and edges of a drawing stand
    masking, redaction       what is secret in a WfSpec; events and rows without it
    plain                    records as plain data
    times, counting          times and spans; numbers of things in words
    wrapping                 lines that fit a terminal
"""
