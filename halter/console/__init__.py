"""The console: pages and a JSON API that show what a view and the log know, and send commands if they may.

    settings            where it listens, who may log in, its bounds
    app                 puts the parts together: `console(settings)` is the ASGI application
    serving             runs it on uvicorn until a signal
    security            the gate: hosts, origins, paths, bodies, security headers
    security_rates      how often somebody may ask
    users               who somebody is, and what that allows
    login_users         who sends a request
    login_sessions      the signed cookie
    login_attempts      attempts to log in, counted
    login               the routes of the login
    login_oidc          login by OpenID Connect
    readings            what API and pages show, by subject:
    readings_view       lists, counts, and how far the view is
    readings_log        the history of a WfRun
    readings_dead_letters  what is in a dead letter, and what a retry would send
    readings_workers    workers, and what waits to be folded
    readings_kafka      how the last three reach Kafka
    counted             how many of what there are, counted once for each change of the view
    reaching            whether Kafka answers
    standing            what waits to be folded, and which partitions stand still
    turns               how many read the log at a time
    live                server-sent events
    actions             what operators may do
    sending             sends commands
    api                 the JSON API
    api_schemas         JSON Schemas of Python types
    problems            errors as answers
    refusals            those that are no page's: a page with the way on, or JSON
    metrics             figures for Prometheus
    pages               the pages for people

It runs no rule and reads no topic by itself: `halter.view` answers for lists, `halter.history` for what happened, and
the client sends. Read-only unless actions are allowed (docs/adr/0035-console.md).
"""
