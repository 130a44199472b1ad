"""WfSpecs: reading and writing their documents, checking them, registering them, computing what their expressions say.

Knows records; knows nothing of a WfRun that runs: that is `rules`.

    reader, expression_reader      from a document to a WfSpec
    expression_forms               the forms of expressions, and their bounds
    expression_parser, expression_text
                                   the text form of expressions and mutations: compiled, and written
    document_reader, json_document what every document has in common; the JSON text of one
    document_problems              what is wrong with a document, and where
    writer                         from a WfSpec to its document
    validate                       every rule that a WfSpec has to keep, each with its code
    static_types, thread_scopes    which type an expression will have; which Variables a ThreadSpec can count on
    definitions                    all definitions and their versions
    registration, wf_spec_registration, task_def_registration, refused
                                   which definitions are accepted, and under which version
    expressions                    how a new value is computed
    near_names                     `did you mean …?`
"""
