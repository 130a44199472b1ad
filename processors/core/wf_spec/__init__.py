"""WfSpecs: reading and writing their documents, checking them, registering them, computing what their expressions say.

Knows records; knows nothing of a WfRun that runs: that is `rules`.

    reader, writer                 a document to a WfSpec and back, byte for byte
    validate                       every rule that a WfSpec has to keep, each with its code
    static_types, thread_scopes    which type an expression will have; which Variables a ThreadSpec can count on
    definitions                    which definitions are accepted, and under which version
    expressions                    how a new value is computed
    near_names                     `did you mean …?`
"""
