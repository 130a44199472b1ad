"""A worker process: the Faust application with its agent, its log and probes, built from settings.

Joins the fold to the runtime. Nothing below imports it.

    app               builds the application, and runs it until a signal
    agents            the agent, which folds batches
    logs              the log on stderr
    ready_file        a file that exists while the worker is ready
    probes            the HTTP endpoint of this and other processes
    metric_table      every metric of every process
    exposition        metrics as Prometheus reads them
    metrics           those of a worker
    scenario_worker   the parts of a worker that runs a scenario
"""
