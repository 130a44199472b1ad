"""A worker process: the Faust application with its agent, its log and probes, built from settings.

Joins the fold to the runtime. Nothing below imports it.
"""
