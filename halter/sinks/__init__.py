"""Sinks: what happens to WfRuns becomes JSON on a topic of the user's, by a document and without code.

    model, document   a document's sink, and reading it
    files             reads a document from its file
    definitions_check names of a sink that no definition has
    changes           what an event tells, as JSON data without masked values
    wf_specs          which WfSpec each WfRun is of
    telling           what events become, for people
    mapping           what a record of wf-events becomes

`halter.transform` has what reads wf-events and writes what the mapping says.
"""
