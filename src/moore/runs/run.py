"""Begins or resumes a run, obeys signals meanwhile, and keeps its copy in a store."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from moore.config import Config
from moore.data.dataset import Dataset
from moore.envs.make import EnvSource
from moore.errors import InputError
from moore.files import whole_path
from moore.jax_settings import plain_jax
from moore.runs.beginning import begin
from moore.runs.execution import RunResult, Until
from moore.runs.mirror import Mirror, is_url
from moore.runs.plan import Stages
from moore.runs.resuming import go_on
from moore.runs.signals import Stop, listening


@plain_jax()
def run(
    config: Config,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    out: str | Path | None = None,
    stages: Stages = "both",
    start_from: str | Path | None = None,
    until: Until | None = None,
    quiet: bool = False,
) -> RunResult:
    """Trains a policy: offline stage, hand-over, online stage, report.

    Args:
        config: all settings that the result depends on.
        dataset: the log; by default the configuration's.
        env: id of the environment, or a function that makes one. Every evaluation episode has an
            environment of its own. By default the configuration's.
        system: the live system, as an id or a function. Only the acting policy uses it, from the
            hand-over on; it is made once before, to check that it fits. By default an environment
            of `env`.
        out: a new folder; by default `runs/{env}__{algorithm}__{seed}__{time}`. Or a URL that
            fsspec knows, see `moore.runs.mirror`.
        stages: both stages, or only one; "online" needs `start_from`.
        start_from: run with a finished offline stage, from which the online stage starts.
        until: function of the metrics and the state of every online epoch; if it returns True the
            run ends after this epoch.
        quiet: print nothing.

    Raises:
        InputError: the arguments do not fit together; this is found before training starts.

    Examples:
        >>> result = run(preset("quickstart"), out="runs/first")  # doctest: +SKIP
        >>> result.summary["transfer"]["gain"]  # doctest: +SKIP
    """
    with _obeying_signals() as stop, _mirrored(out) as mirror:
        return begin(
            config, stop, dataset=dataset, env=env, system=system, out=out, stages=stages,
            start_from=start_from, until=until, mirror=mirror, quiet=quiet,
        )  # fmt: skip


@plain_jax()
def resume(
    folder: str | Path,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    until: Until | None = None,
    epochs: int | None = None,
    max_bad_readings: int | None = None,
    checkpoint_every: int | None = None,
    track: tuple[str, ...] | None = None,
    tensorboard: bool | None = None,
    quiet: bool = False,
) -> RunResult:
    """Resumes a run from its last checkpoint, bit for bit on CPU.

    Args:
        folder: folder of the run, or its URL.
        dataset: the log, if its file has moved or it was given as an object.
        env: the environment, if it was given as a function.
        system: the live system, if one was given. Its running episode cannot be replayed, so a new
            one begins; the same holds for `env` if nothing is evaluated.
        until: as in `run`.
        epochs: larger number of online epochs, also for a finished run. The buffers grow, so the
            run can differ from one that had this length from the start.
        max_bad_readings: a new value of this setting from now on.
        checkpoint_every: the same.
        track: the same.
        tensorboard: the same.
        quiet: print nothing.

    Raises:
        InputError: there is no run, the log, the version or the settings are other ones, no
            checkpoint can be read, or an environment or system is missing that was given before.
    """
    with _obeying_signals() as stop, _mirrored(folder) as mirror:
        place = whole_path(folder) if mirror is None else mirror.pull()
        return go_on(
            place, stop, dataset=dataset, env=env, system=system, until=until, mirror=mirror,
            quiet=quiet,
            changes={"epochs": epochs, "max_bad_readings": max_bad_readings,
                     "checkpoint_every": checkpoint_every, "track": track,
                     "tensorboard": tensorboard},
        )  # fmt: skip


@contextlib.contextmanager
def _mirrored(place: str | Path | None) -> Iterator[Mirror | None]:
    """The copy of a run in a store, which in the end has all that the run has written."""
    if not is_url(place):
        yield None
        return
    mirror = Mirror(str(place))
    yield mirror
    mirror.push()


@contextlib.contextmanager
def _obeying_signals() -> Iterator[Stop]:
    """Listens to signals, and turns an exit of the environment into an error."""
    with listening() as stop:
        try:
            yield stop
        except SystemExit as end:
            raise InputError(
                f"the environment (or a function that was given) ended the program itself: "
                f"SystemExit({end.code!r}). It must not call exit(); let it raise an error, or end "
                "the episode."
            ) from end
