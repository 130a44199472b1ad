"""`halter console`: parses the options, then serves the console until a signal. `halter.console` has the rest."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.connection import Cluster, asks_kafka, load_settings
from halter.cli.console_login import Login
from halter.cli.printing import note
from halter.cli.running_options import Running, until_signal
from processors.extras import expect_extra

if TYPE_CHECKING:
    from halter.console.settings import ConsoleSettings


@asks_kafka
def console(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen. 0.0.0.0 is every IPv4 address. If others reach it, a login is required.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port to listen at.")] = 8090,
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The address in the browser, as https://halter.example.com, if it is another one than that of --host "
            "and --port. A request for another host is refused.",
            show_default=False,
        ),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The view to read. Default: HALTER_VIEW, else the usual file."),
    ] = None,
    allow_actions: Annotated[
        bool,
        typer.Option(
            "--allow-actions",
            help="Let operators send commands. Without a login that is whoever has the link with the start-up token, "
            "which is printed once.",
        ),
    ] = False,
    *,
    login: Login,
    running: Running,
    cluster: Cluster,
) -> None:
    """Serve the console: pages that show what WfRuns do, and a JSON API beside them. Runs until SIGTERM or Ctrl-C.

    It reads the view ('halter view' keeps it current), and Kafka for histories. It changes nothing unless you allow
    actions. Only this machine reaches it unless --host says otherwise.

    - `halter console`
    - `halter console --allow-actions`
    - `halter console --host 0.0.0.0 --public-url https://halter.example.com --token-file reader.txt`

    Exit codes: 0 ended by a signal, 1 an error, 2 wrong options.
    """
    expect_extra("console", "'halter console'")
    from halter.console.settings import ConsoleSettings

    running.begin()
    served = ConsoleSettings(
        view_url=view,
        kafka=load_settings(cluster),
        host=host,
        port=port,
        public_url=public_url,
        allow_actions=allow_actions,
    )
    run(login.added_to(served), running)


def run(settings: "ConsoleSettings", running: Running) -> None:
    """Listen, say where, and serve until a signal."""
    from halter.console.app import console as application
    from halter.console.metrics import Figures
    from halter.console.serving import listening, serve
    from halter.view.place import ViewUnavailable
    from processors.worker.probes import Probes

    figures = Figures()
    app = application(settings, figures)
    listener = listening(settings)
    try:
        with app.state.readings.view.reading():
            pass
    except ViewUnavailable as away:
        note(f"{away}. The console starts all the same, and shows lists as soon as it is there")
    probes = running.answering(partial(Probes, lambda: figures, figures.text))
    # uvicorn raises the signal again when it has ended. It is ours then, and says only that.
    with until_signal(), probes:
        if settings.has_start_up_token:
            typer.echo(f"Halter console: {settings.url}")
            typer.echo(f"To act, open it with this link: {settings.url}/login?token={settings.start_up_token}")
        else:
            typer.echo(f"Halter console: {settings.url}{'' if settings.allow_actions else ' (read-only)'}")
        serve(app, settings, listener)
