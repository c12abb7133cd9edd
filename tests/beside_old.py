"""Sessions beside the controller that ran before, a second a step, for tests."""

import contextlib
import json

import numpy as np

from moore import Session
from moore.runs.run import run
from tiny import ENV, quick_config

OBS = np.asarray([0.5], np.float32)
EPISODE = 4
BUDGET = 0.2


def old(obs):
    """The controller that ran before."""
    return -0.25 * obs


class Time:
    """A clock that the test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextlib.contextmanager
def sessions_beside(quick_run, log, folder, time):
    """Begins sessions beside `old`, and closes them in the end."""
    opened = []

    def begin(name="session", run=quick_run, resumes=None, **how):
        how = {"dataset": log, "controller": old, "clock": time} | how
        if resumes is not None:
            opened.append(Session.resume(resumes, **how))
        else:
            how = {"at": "hand-over", "accept": ("hand-over",)} | how
            opened.append(Session.from_run(run, folder / name, **how))
        return opened[-1]

    yield begin
    for session in opened:
        session.close()


def run_with_budget(log, folder, **settings):
    """The folder of a quick run with a loss budget, after its offline stage."""
    config = quick_config(**{"dip_budget": BUDGET, "episode_steps": EPISODE} | settings)
    how = {"stages": "offline", "quiet": True, "out": folder}
    run(config, dataset=log, env=ENV, **how)
    return folder


def control(session, time, steps, earns=lambda actor: 1.0, *, first=0, obs=OBS, lags=False, **told):
    """So many steps, one a second, which earn by who acted; the actions that were sent.

    With `lags` the next observation is not told where it is the one of the next call.
    """
    actions = []
    for step in range(first, first + steps):
        time.now += 1.0
        actions.append(session.act(obs))
        ends = step % EPISODE == EPISODE - 1
        session.observe(
            reward=earns(session.standing[0].actor),
            next_obs=None if lags and not ends else obs,
            truncated=ends,
            **told,
        )
    return np.concatenate(actions)


def decisions(session):
    """What the log tells of every action."""
    lines = [line for path in sorted(session.log.iterdir()) for line in path.open()]
    records = [record for line in lines if (record := json.loads(line))["kind"] == "act"]
    return [record["decision"] | {"sent": record["action"]} for record in records]


def who(session):
    return [decision["actor"] for decision in decisions(session)]
