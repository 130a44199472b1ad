"""The view: the state and the log in SQL, kept current, for whoever asks which WfRuns are where.

    tables      the tables, as a person queries them
    place       opens the database of a view, and says what is wrong with it
    migrations  how a database gets the tables of this release
    state       reads the state of WfRuns that a view has
    fold        folds the log onto the rows that it has
    projection  the rows of the tables that follow from a WfRun
    writing     writes rows in bulk, into SQLite and PostgreSQL
    filters     which WfRuns somebody asks for
    paging      where the next page of a list begins
    names       names in a filter of which the view knows nothing
    looking     bounds of a look into the view, and ways to look that stay within them
    conditions  filters of WfRuns as conditions of SQL
    wf_run_lines  WfRuns as lists show them
    wf_run_lists  pages of WfRuns, and how many there are
    external_event_lists  pages of ExternalEvents
    dead_letter_lists  pages of dead letters
    totals      how many of what there are
    node_counts how many threads stand at each node
    progress    how far the view has read, and how far it is behind
    one_wf_run  a WfRun with its threads, its ExternalEvents and its task attempts
    definition_lists  names and versions of definitions
    wrong_now   what somebody should look at
    changes     what has changed since a position
    installation  whether a view is of the installation that gets commands
    keeping     writes what came, with the offsets up to which it came
    rows        reads the rows of a partition, those of each WfRun at one moment
    kafka       reads what a view is made of
    following   fills a view, and keeps it current
    status      how far a view is
    wf_run_text WfRuns as a table for a terminal, and as plain data
    stats_text  how many of what there are, in lines

It folds with `evolve` alone and runs no rule. Rows and the offsets that they stand for are written in one transaction.
"""
