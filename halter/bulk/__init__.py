"""Bulk jobs: one command to each of many WfRuns, which a view chooses.

    job      a job: its id, which WfRuns it is about, and the id of each command
    running  sends the commands, no faster than it may, and counts what became of them
    view_checks  whether a job may choose by a view: somebody keeps it current

A job keeps nothing but its id. All else follows from that: run again with the same id, it goes
on where it was.
"""
