"""What is given to a session beside a controller in the wrong type: refused in a sentence."""

import inspect
import math
import time
from dataclasses import replace

import numpy as np
import pytest

from beside_old import OBS, Time, sessions_beside
from controlled import records
from moore import Session, load_policy
from moore.errors import InputError, TurnError
from moore.files import whole_path
from moore.guarding.comparison import Range
from moore.guarding.interlocks import DeadMan, Interlocks
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings, Supervision
from moore.runs.policy import save_policy
from moore.sessions.blocks import records_of_episode
from moore.sessions.readings import step_of

LEVEL = GuardSettings(returns=None, limits=[Limit("level", high=4.5)])


@pytest.fixture
def begin(quick_run, log_file, tmp_path):
    with sessions_beside(quick_run, log_file, tmp_path, Time()) as begin:
        yield begin


class NeedsGains:
    """A controller that is given as a class, but cannot be made without arguments."""

    def __init__(self, gain):
        self.gain = gain

    def act(self, obs):
        return -self.gain * obs


def untyped(kind, *args, **kwargs):
    """An object as a user's program makes it, where nobody checks types before."""
    made = object.__new__(kind)
    inspect.unwrap(kind.__init__)(made, *args, **kwargs)
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: untyped(Limit, 5, high=1.0), "the name of a signal is 5"),
        (lambda: untyped(Limit, "level", high="4"), "high of signal level is '4'"),
        (lambda: untyped(Limit, "level", low=None), "low of signal level is None"),
        (lambda: untyped(Limit, "level", block=1.5), r"block of signal level is 1\.5"),
        (lambda: untyped(Range, 0.0, "1"), "high of the range of returns is '1'"),
        (lambda: untyped(GuardSettings, limits=Limit("level")), "expected a list of Limit"),
        (lambda: untyped(GuardSettings, limits={"level": 4.0}), "expected a list of Limit"),
        (lambda: untyped(GuardSettings, limits=["level"]), "holds 'level'; expected Limit objects"),
        (lambda: untyped(GuardSettings, units="2"), "units of the guard is '2'"),
        (lambda: untyped(GuardSettings, units=1.5), r"units of the guard is 1\.5"),
        (lambda: untyped(GuardSettings, error="5%"), "error of the guard is '5%'"),
        (lambda: untyped(GuardSettings, tolerance=None), "tolerance of the guard is None"),
        (lambda: untyped(GuardSettings, recovery="long"), "recovery of the guard is 'long'"),
        (lambda: untyped(GuardSettings, range=(0.0, 1.0)), r"expected Range\(low, high\)"),
        (lambda: untyped(DeadMan, between_calls="5"), "between_calls of the time-outs is '5'"),
        (lambda: untyped(DeadMan, observation_age=True), "observation_age of the time-outs is"),
        (lambda: untyped(Interlocks, None, [1.0]), "low of the interlocks is None"),
        (lambda: untyped(Interlocks, [-1.0], ["b"]), r"high of the interlocks is \['b'\]"),
        (lambda: untyped(Interlocks, [-1.0], [1.0], "fast"), "rate of the interlocks is 'fast'"),
        (lambda: untyped(Interlocks, [-1.0], [1.0], None, 5), "project is 5; expected a function"),
    ],
)  # fmt: skip
def test_a_setting_of_another_type_is_refused_where_it_is_made(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"guard": untyped(GuardSettings, returns=5)}, "returns of the guard is 5"),
        ({"guard": untyped(GuardSettings, returns=["a"])}, "returns"),
        ({"guard": GuardSettings(returns=[1.0, math.nan] * 20)}, "that is not finite"),
        ({"controller": ""}, "no known kind"),
        ({"controller": NeedsGains}, "NeedsGains is a class, and none of its objects can be made"),
        ({"clock": lambda: "noon"}, "clock gave 'noon'"),
        ({"clock": lambda: math.nan}, "clock gave nan"),
        ({"clock": time.gmtime}, "clock gave time.struct_time"),
    ],
)  # fmt: skip
def test_or_at_the_latest_when_the_session_begins(begin, how, words):
    with pytest.raises(InputError, match=words):
        begin(**how)


def test_a_class_of_controllers_is_made_into_one(begin):
    class Pid(NeedsGains):
        def __init__(self):
            super().__init__(0.25)

    assert begin(controller=Pid).act(OBS) == pytest.approx(-0.125)


def test_a_controller_of_a_file_for_another_system_is_refused_before_anything_is_there(
    begin, tmp_path
):
    arrays = {"weight_0": np.zeros((2, 1)), "bias_0": [0.0], "low": [-2.0], "high": [2.0]}
    np.savez(tmp_path / "old.npz", **arrays)
    with pytest.raises(InputError, match="takes 2 observations and gives 1 actions; this system"):
        begin(controller=tmp_path / "old.npz")
    assert not (tmp_path / "session").exists()


def test_a_run_for_other_bounds_is_no_controller_unless_its_actions_are_meant(
    begin, quick_run, tmp_path
):
    other = tmp_path / "other"
    save_policy(other, replace(load_policy(quick_run), high=np.array([1.0], np.float32)))
    with pytest.raises(InputError, match=r"from \[-2.0\] to \[1.0\].*moore.load_policy\("):
        begin(controller=other)
    assert not (tmp_path / "session").exists()
    assert begin(controller=load_policy(other)).act(OBS) <= 1.0


def test_a_run_is_no_session_and_a_session_no_run(begin, quick_run):
    session = begin()
    session.close()
    with pytest.raises(InputError, match="It is a run; begin a session with"):
        Session.resume(quick_run)
    with pytest.raises(InputError, match=r"It is a session.*moore\.Session\.resume goes on"):
        Session.from_run(session.folder)


def test_without_a_controller_there_is_nobody_to_trust(quick_run, log_file, tmp_path):
    with (
        sessions_beside(quick_run, log_file, tmp_path, None) as begin,
        pytest.raises(InputError, match="has no controller that ran before"),
    ):
        begin(controller=None).trust_again()


@pytest.mark.parametrize("when", ["2024-01-01", np.array([1.0]), True])
def test_a_time_of_measurement_is_a_number(begin, when):
    supervisor = begin(dead_man=DeadMan(observation_age=1.0))._operation.supervisor
    with pytest.raises(InputError, match=r"observed_at of the call of act is .*expected a number"):
        inspect.unwrap(type(supervisor)._stale)(supervisor, 0.0, when)


@pytest.mark.parametrize("rate", ["slow", {}, [[0.1]], 0.0])
def test_a_rate_of_transfer_is_a_number_for_each_entry(rate):
    bounds = np.array([-1.0], np.float32), np.array([1.0], np.float32)
    with pytest.raises(InputError, match=r"transfer_rate is .* one for each of 1 entries"):
        untyped(Supervision, "clone", *bounds, transfer_rate=rate)


@pytest.mark.filterwarnings("ignore::moore.guarding.guard.GuardAlarm")
@pytest.mark.parametrize(
    ("signals", "words"),
    [
        (5, "signals is 5; the guard watches level"),
        ("level", "signals is 'level'; the guard watches level"),
        ([1.0], r"signals is 1\.0; the guard watches level"),
        (None, "the signals are not told; the guard watches level"),
        ({"height": 1.0}, "signal level is not told"),
        ({"level": "4.1"}, "signal level holds text"),
        ({"level": [4.1]}, r"signal level is \[4\.1\]; expected one number"),
        ([{"level": 1.0}] * 2, "signals has 2 entries"),
    ],
)
def test_signals_are_numbers_by_their_names(begin, signals, words):
    session = begin(guard=LEVEL, mode="on")
    session.act(OBS)
    with pytest.raises(InputError, match=words):
        session.observe(reward=1.0, next_obs=OBS, signals=signals)
    assert session.observe(reward=1.0, next_obs=OBS, signals={"level": 10**400}) == 1
    assert not session.standing[0].trusted, "a number beyond all others is out of the limits"


def test_numbers_of_numpy_name_units_and_steps(begin):
    session = begin()
    session.act([OBS, OBS], unit=np.arange(3, 5))
    session.act(OBS, unit=np.int64(3))
    step = session.observe(next_obs=OBS, unit=3)
    session.reward(np.int64(step), 1.0)
    assert [record["step"] for record in records(session, "reward")] == [3]


@pytest.mark.parametrize("step", [2.0, "2", True, None])
def test_the_number_of_a_step_is_whole(step):
    with pytest.raises(TurnError, match=r"step is .*; expected the number that observe\(\)"):
        step_of(step)


@pytest.mark.parametrize("path", [5, None, b"runs", ""])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InputError, match="is no path; expected a text or a Path"):
        inspect.unwrap(whole_path)(path)


def test_densities_of_an_episode_that_are_no_list_are_refused(begin):
    with pytest.raises(InputError, match="log_density has 1 entries; expected 2"):
        inspect.unwrap(records_of_episode)(
            [OBS] * 3, [OBS] * 2, [1.0, 1.0], world=begin()._operation.world, first=1, unit=0,
            terminated=False, truncated=True, policy=None, log_density=5.0,
        )  # fmt: skip
