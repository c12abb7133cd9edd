"""The command `moore serve`: a session over HTTP."""

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import example, with_target
from moore.console import show
from moore.errors import InputError
from moore.files import short_path
from moore.runs.signals import listening as to_signals

_ASKED = "moore: saving the session; a second signal stops without saving.\n"


@example("moore serve runs/tank --port 8702 --out sessions/tank")
@dataclass(frozen=True)
class ServeOptions:
    """Gives a session to control systems by HTTP, with the calls of docs/session.md.

    RUN is the folder of a run, from which a new session begins, or that of a session, which goes
    on. Ctrl-C and SIGTERM save it. Only this machine is answered, unless --host says otherwise.
    Needs the extra "serve": pip install "moore-rl[serve]".

    Attributes:
        port: port of the server; 0 takes a free one.
        host: address to listen on; where others can reach it, clients need a token.
        token_file: file with the token; without it, the variable MOORE_TOKEN counts.
        out: folder of the new session; None uses sessions/RUN__TIME.
        dataset: where the log of the run is now, if it was moved.
        at: begin at the "newest" state of the run, or at its "hand-over".
        accept: hand-over, to act although something speaks against the policy; first-observation,
            although the first one is unlike all logged ones.
        learner: "process" to learn in a process of its own, so that no request waits for learning,
            or "call" to learn in stretches between the requests.
        controller: the controller that ran before, which stands by: module:name of a function or
            an object, http://..., the path of an .onnx, .zip, .d3 or .npz file, the folder of a
            run, or clone. A session that was begun with one of yours goes on with the same.
        mode: mode of the new session: off, shadow, canary or on. None begins with shadow.
        guard: whether the old controller acts again if episodes earn less than those of the log.
        limits: TOML file with the guard, the limits of signals, the interlocks and the time-outs of
            the new session; docs/guard.md lists what may stand in it.
        transfer_rate: largest change of an action in a second after the other has taken over.
        reference_log: whether the controller itself has written the log of the run; then the loss
            budget knows from it what the controller earns.
        learn_between: learn what is due whenever no request waits.
        learn_stretch: seconds that it learns at a time, so that an action waits no longer.
        patience: seconds after which a request that waits for its turn is refused.
        max_body: bytes of a request's body.
        max_rate: requests per second from one address.
        max_units: ids of units that the session may have.
    """

    port: int = 8702
    host: str = "127.0.0.1"
    token_file: Path | None = None
    out: Path | None = None
    dataset: str | None = None
    at: str = "newest"
    accept: tuple[str, ...] = ()
    learner: str = "call"
    controller: str | None = None
    mode: str | None = None
    guard: bool = False
    limits: Path | None = None
    transfer_rate: float | None = None
    reference_log: bool = False
    learn_between: bool = False
    learn_stretch: float = 0.02
    patience: float = 1.0
    max_body: int = 1_000_000
    max_rate: float = 1000.0
    max_units: int = 64


def serve_session(arguments: list[str]) -> None:
    run, options = with_target(ServeOptions, arguments, "serve", "RUN")
    if not 0 < options.learn_stretch <= 3600:
        raise InputError(f"--learn-stretch is {options.learn_stretch}; expected 0 to 3600 s.")

    from moore.serving.limits import ServerLimits
    from moore.serving.server import (
        address_of,
        check_installed,
        check_token,
        listen,
        open_session,
        serve,
    )

    check_installed()
    limits = ServerLimits(
        body=options.max_body, rate=options.max_rate, units=options.max_units,
        patience=options.patience,
    )  # fmt: skip
    token = check_token(_token(options.token_file), options.host)
    with listen(options.host, options.port) as socket, _warnings_as_sentences():
        session = open_session(
            run, out=options.out, dataset=options.dataset, at=options.at, accept=options.accept,
            learner=options.learner, controller=options.controller, mode=options.mode,
            guard=options.guard, limits=options.limits, transfer_rate=options.transfer_rate,
            reference_log=options.reference_log,
        )  # fmt: skip
        try:
            with to_signals() as stop, stop.patience(_ASKED):
                folder = short_path(session.folder)
                show(f"{address_of(socket)} serves {folder}; Ctrl-C saves and ends it.")
                sys.stdout.flush()
                serve(
                    session, socket, token=token, limits=limits, stretch=options.learn_stretch,
                    between=options.learn_between, stopping=lambda: stop.asked,
                )  # fmt: skip
        finally:
            session.close()


@contextlib.contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    """Alarms and the like are told with the time, and without the line of code that tells them."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *rest: object) -> None:
            if not issubclass(category, UserWarning):
                shown(message, category, *rest)  # type: ignore[arg-type]
                return
            with contextlib.suppress(OSError):  # standard error may be a lost terminal
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                print(f"moore: {now} {message}", file=sys.stderr, flush=True)

        warnings.showwarning = tell  # type: ignore[assignment]
        yield


def _token(path: Path | None) -> str | None:
    """The token from the file or the environment, which is never printed."""
    if path is None:
        return os.environ.get("MOORE_TOKEN") or None
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"--token-file {path} cannot be read: {reason}.") from None
