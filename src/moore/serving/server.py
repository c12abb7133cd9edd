"""Serves a session by HTTP until it is told to stop, and saves it then."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from moore.errors import InputError
from moore.guarding.limits_file import read_limits
from moore.guarding.supervision import GuardSettings
from moore.serving.app import App
from moore.serving.desk import Desk
from moore.serving.lessons import Lessons
from moore.serving.limits import ServerLimits
from moore.serving.requests import is_loopback
from moore.sessions.folder import is_session
from moore.sessions.session import Session

_KEPT_ALIVE = 75  # seconds that a connection may be idle
_SHORTEST_TOKEN = 16


def open_session(
    path: str | Path,
    *,
    out: str | Path | None = None,
    dataset: str | None = None,
    at: str = "newest",
    accept: tuple[str, ...] = (),
    learner: str = "call",
    controller: str | None = None,
    mode: str | None = None,
    guard: bool = False,
    limits: str | Path | None = None,
    transfer_rate: float | None = None,
    reference_log: bool = False,
) -> Session:
    """The session of a folder: one is resumed, and a run begins one.

    Args:
        path: folder of a session or of a run.
        out: folder of a new session.
        dataset: the run's log, if it has moved.
        at: as for `Session.from_run`.
        accept: as for `Session.from_run`.
        learner: as for `Session.from_run`.
        controller: the controller that ran before, as a text of the user's.
        mode: the mode of a new session, as for `Session.from_run`.
        guard: whether a new session has a guard, with the defaults of `GuardSettings` if `limits`
            does not say otherwise.
        limits: file with the limits of a new session; see `moore.guarding.limits_file`.
        transfer_rate: as for `Session.from_run`; it prevails over that of `limits`.
        reference_log: as for `Session.from_run`.

    Raises:
        InputError: it cannot be opened, or is a session and something for a new one is given.
    """
    if learner == "episodes":
        raise InputError(
            "--learner episodes: the request that ends an episode would wait for as long as the "
            "session learns. Here --learn-between learns what is due in short stretches, whenever "
            "no request waits; --learner process learns beside the requests."
        )
    if not is_session(path):
        how = {} if limits is None else read_limits(limits).arguments
        if guard and how.get("guard") is None:
            how["guard"] = GuardSettings()
        if transfer_rate is not None:
            how["transfer_rate"] = transfer_rate
        return Session.from_run(
            path, out, dataset=dataset, at=at, accept=accept, learner=learner,
            controller=controller, mode=mode, reference_log=reference_log, **how,
        )  # fmt: skip
    given = {
        "out": out is not None, "at": at != "newest", "accept": accept, "mode": mode is not None,
        "guard": guard, "limits": limits is not None,
        "transfer-rate": transfer_rate is not None,
        "reference-log": reference_log,
    }  # fmt: skip
    for name, is_given in given.items():
        if is_given:
            raise InputError(
                f"{path} is a session, which goes on as it is; --{name} is for a new one, from a "
                "run."
            )
    return Session.resume(path, dataset=dataset, learner=learner, controller=controller)


def check_token(token: str | None, host: str) -> str | None:
    """The token that clients must know.

    Raises:
        InputError: it is too short or not printable, or is missing where others reach the server.
    """
    if token is None:
        if not is_loopback(host):
            raise InputError(
                f"{host} can be reached by other machines, so a token is required: give "
                "--token-file, or set MOORE_TOKEN."
            )
        return None
    if len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise InputError(f"the token is no printable ASCII of at least {_SHORTEST_TOKEN} signs.")
    return token


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        InputError: the address or the port cannot be used.
    """
    if not 0 <= port < 65536:
        raise InputError(f"the port is {port}; expected 0 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"{host}, port {port} cannot be used ({error.strerror}); give another one, or port 0 "
            "for a free one."
        ) from None


def address_of(listening: socket.socket) -> str:
    """The address that clients use."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def check_installed() -> None:
    """Raises InputError unless the packages are there that serve HTTP."""
    try:
        import httptools  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise InputError(
            'serving needs uvicorn and httptools; install the extra: pip install "moore-rl[serve]".'
        ) from None


def serve(
    session: Session,
    listening: socket.socket,
    *,
    token: str | None,
    limits: ServerLimits,
    stretch: float,
    between: bool,
    stopping: Callable[[], bool],
) -> None:
    """Serves a session until `stopping` says so; then saves it.

    Args:
        session: the session; the caller closes it.
        listening: a socket from `listen`, which is closed in the end.
        token: what clients must know; None: they need none.
        limits: how much they may ask.
        stretch: seconds that an action should wait for learning at most.
        between: learn between requests without being asked.
        stopping: asked every tenth of a second.

    Raises:
        InputError: the session cannot be saved.
    """
    check_installed()
    asyncio.run(_serve(session, listening, token, limits, stretch, between, stopping))
    session.save()


async def _serve(session, listening, token, limits, stretch, between, stopping) -> None:
    import uvicorn

    from moore.serving.connections import bounded_connections

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are the business of `stopping`

        async def on_tick(self, counter: int) -> bool:
            self.should_exit = self.should_exit or stopping()
            return await super().on_tick(counter)

    desk = Desk(session, limits.patience)
    lessons = Lessons(desk, stretch=stretch, between=between)
    config = uvicorn.Config(
        App(desk, lessons, limits, token), http=bounded_connections(limits), loop="asyncio",
        ws="none", lifespan="off", log_config=None, log_level="critical", access_log=False,
        server_header=False, date_header=False, proxy_headers=False,
        timeout_keep_alive=_KEPT_ALIVE,
    )  # fmt: skip
    learning = asyncio.create_task(lessons.run())
    lessons.steps_may_have_come()
    try:
        await Server(config).serve(sockets=[listening])
    finally:
        lessons.end()
        await learning
