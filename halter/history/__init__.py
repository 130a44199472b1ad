"""The library for debugging: reads what happened to WfRuns, and tells it. It writes no topic.

    logged              `Logged`: an event and its place on the log
    source              `Source`: what an analysis may ask for, wherever the records are
    live                a Source that reads Kafka
    selection           events of some threads and kinds, from one moment to another
    moments             the states of a WfRun along its log, by seq, by time and step by step
    forking             the moments from which another WfRun can start
    difference          what differs between two states
    difference_text     the same as lines
    export, tokens      write WfRuns into one file, with tokens in the place of masked values
    export_form         the form of that file
    export_file         a Source that reads it
    origins             since when a WfRun is as it is, and because of which record
    why                 what holds each thread of a WfRun, down to what would free it
    writers             who could make a condition true
    why_text            the same in words, and as JSON
    why_not             what became of an ExternalEvent, and what stands in its way
    why_not_text        the same in words, and as JSON
    causes              from a record to what it caused, and back
    tracing             follows a record through a Source
    cause_text          the same as lines, and as JSON
    outside             reads what lies outside of the log: dead letters, records that are not folded yet
    present             the present state of a WfRun with what led to it
    record_text         the name of an input record in a sentence
    deciding            decides recorded inputs again, as a worker does
    recording           what was recorded of a partition
    blocks              divides the log of a partition into the entries of one input each
    state_of_log        the rows that follow from the log, by `evolve` alone
    verifying           compares what was recorded with what deciding again gives
    verifying_keys      the same for correlation keys
    found               what verifying finds
    recorded_in_kafka   a recording that Kafka has
    recorded_in_source  a recording of some WfRuns of a Source
    other_rules         decides with another version of Halter
    changed_spec        definitions with another WfSpec
    verify              verifies partitions side by side
    explaining          explains a difference by the states after it
    verify_text         what was found, in words and as JSON
    turns               the recorded inputs of a WfRun, each with its events
    scenario_of         a history as a scenario document
    scenario_definitions, scenario_outcome
                        its definitions, and what it expects at the end
    scenario_check      whether these rules give what was recorded
    shrinking           drops what does not matter for what is expected
    rows_in_kafka       reads the rows of a partition
    checking_state      compares the rows of a partition with those that follow from its log

An analysis takes events and definitions. It does not know where they come from, so it works the same for Kafka and for
a file.
"""
