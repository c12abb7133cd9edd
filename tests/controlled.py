"""Sessions that a made-up control system asks for actions."""

import contextlib
import json

import jax
import numpy as np

from moore import Session


@contextlib.contextmanager
def sessions(run, log, folder):
    """Begins sessions after the offline stage of the run, and closes them in the end."""
    with contextlib.ExitStack() as stack:

        def begin(name="session", **how):
            how = {"at": "hand-over", "accept": ("hand-over",), "dataset": log} | how
            session = Session.from_run(run, folder / name, **how)
            stack.callback(session.close)
            return session

        yield begin


def control(session, steps, *, first=0, episode=5, unit=None):
    """Steps of the linear task without noise, in episodes of `episode` steps."""
    numbers = []
    for step in range(first, first + steps):
        obs = np.asarray([1.0 - step % episode / 8.0], np.float32)
        action = session.act(obs, unit=unit)
        numbers.append(
            session.observe(
                reward=-float(obs[0] ** 2),
                next_obs=obs - np.float32(0.125),
                truncated=step % episode == episode - 1,
                unit=unit,
            )
        )
        assert action.shape == (1,)
    return numbers


def rows(session):
    """D_on."""
    online = session._operation.studying.learning.state.online
    return jax.tree.map(lambda x: np.asarray(x[: int(online.size)]), online.data)


def records(session, kind):
    lines = [path.read_text().splitlines() for path in sorted(session.log.iterdir())]
    found = [json.loads(line) for part in lines for line in part]
    return [record for record in found if record["kind"] == kind]
