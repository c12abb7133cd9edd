"""The command `moore watch`: a live page of a run."""

from dataclasses import dataclass

from moore.cli.parse import example, with_target
from moore.console import show


@example("moore watch runs/first --port 8701")
@dataclass(frozen=True)
class WatchOptions:
    """Shows a run while it goes on, on a page of its own that only this machine can open.

    RUN is the folder of a run or of a session. It is only read. Stop it with Ctrl-C.

    Attributes:
        port: port of the page; 0 takes a free one.
        refresh: seconds between two looks at the run.
    """

    port: int = 8701
    refresh: float = 2.0


def watch_run(arguments: list[str]) -> None:
    run, options = with_target(WatchOptions, arguments, "watch", "RUN")

    from moore.watching.server import live_server

    with live_server(run, port=options.port, refresh=options.refresh) as server:
        show(f"http://localhost:{server.server_address[1]}/ shows {run}; Ctrl-C ends it.")
        server.serve_forever()
