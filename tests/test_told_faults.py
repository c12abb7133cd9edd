"""A session tells of a controller, or a projection, that gives no usable action any more."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from beside_old import Time, control, decisions, run_with_budget, sessions_beside
from moore import load_dataset
from moore.formats.live_records import encode
from moore.formats.live_steps import Step
from moore.guarding.interlocks import Interlocks
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings
from moore.sessions.untold import NoUsableAction, Untold
from tiny import tiny_log


@pytest.fixture(scope="module")
def log():
    return tiny_log()


@pytest.fixture(scope="module")
def run_folder(log, tmp_path_factory):
    return run_with_budget(log, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def begin(run_folder, log, tmp_path, time):
    with sessions_beside(run_folder, log, tmp_path, time) as begin:
        yield begin


class Failing:
    """A controller that fails in the steps of a set, counted from 1."""

    def __init__(self, steps):
        self.asked, self.steps = 0, set(steps)

    def __call__(self, obs):
        self.asked += 1
        if self.asked in self.steps:
            raise RuntimeError("no answer from the rack")
        return -0.25 * obs


def told(session, time, steps, **how) -> list[str]:
    """What a session warns of while it controls."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        control(session, time, steps, **how)
    return [str(one.message) for one in found if one.category is NoUsableAction]


def test_a_controller_that_fails_is_told_when_it_begins_and_when_it_ends(begin, time):
    session = begin(controller=Failing({3, 4, 5}))
    assert told(session, time, 2) == [] and session.standing[0].fault == ""
    (text,) = told(session, time, 2)
    assert text.startswith("unit 0, step 3: the controller failed (no answer from the rack); the l")
    assert session.standing[0].fault.endswith("the last good action is held.")
    (text,) = told(session, time, 3)
    assert text == "unit 0, step 6: a usable action came again, after 3 steps without one."
    assert session.standing[0].fault == ""


def test_one_that_fails_in_every_second_step_fills_no_console(begin, time):
    session = begin(controller=Failing(range(2, 200, 2)))
    texts = told(session, time, 100)
    begins = [text for text in texts if "no answer from the rack" in text]
    assert len(begins) == 6 and "This has begun 32 times." in begins[-1]
    assert len(texts) == 2 * len(begins)


def test_a_resumed_session_tells_of_a_controller_that_still_fails(begin, time):
    first = begin(controller=Failing(range(2, 9)))
    assert len(told(first, time, 4)) == 1
    first.save()
    first.close()
    again = begin(resumes=first.folder, controller=Failing(range(1, 9)))
    assert len(told(again, time, 4)) == 1


def test_an_action_outside_the_bounds_is_told_once(begin, time):
    texts = told(begin(controller=lambda obs: 99.0), time, 9)
    assert len(texts) == 1 and "outside the bounds [-2.0] to [2.0]; it is moved" in texts[0]


def test_a_bad_reading_ends_no_fault(begin, time):
    session = begin(controller=Failing({2, 3, 4}))
    told(session, time, 2)
    assert told(session, time, 1, obs=np.array([np.nan], np.float32)) == []
    (text,) = told(session, time, 3)
    assert "after 3 steps without one" in text


def test_a_projection_that_fails_is_told(begin, time):
    calls = []

    def project(obs, action):
        calls.append(1)
        return action if len(calls) < 3 else 1 / 0

    session = begin(interlocks=Interlocks(np.array([-2.0]), np.array([2.0]), project=project))
    (text,) = told(session, time, 6)
    assert "step 3: The projection failed (division by zero); the last action is held." in text


def as_before(folder: Path) -> None:
    """Rewrites a log of one file as a version wrote it whose decisions had no `unusable`."""
    (path,) = folder.iterdir()
    lines, crc = [], 0
    for record in map(json.loads, path.read_text().splitlines()):
        del record["crc"]
        if "decision" in record:
            del record["decision"]["unusable"]
        line, crc = encode(record, crc)
        lines.append(line)
    path.write_bytes(b"".join(lines))


def test_the_log_tells_in_a_field_of_its_own_that_there_was_no_usable_action(begin, time):
    def project(obs, action):
        return action if len(decisions(session)) < 3 else 1 / 0

    locks = Interlocks(np.array([-2.0]), np.array([2.0]), project=project)
    session = begin(controller=Failing({2}), interlocks=locks)
    told(session, time, 4)
    session.close()
    found = [one["unusable"] for one in decisions(session)]
    assert [found[0], found[2]] == ["", ""] and "no answer from the rack" in found[1]
    assert found[3] == "The projection failed (division by zero); the last action is held."


def test_a_sentence_that_only_sounds_like_it_holds_no_action(begin, time):
    session = begin(controller=lambda obs: 99.0)
    told(session, time, 1)
    decision = decisions(session)[0] | {"fault": "the valve is held."}
    untold = Untold()
    untold.acted(Step(2, 0, np.zeros(1), np.zeros(1)), decision)
    with pytest.warns(NoUsableAction, match="this is told once"):
        untold.tell()


def test_a_log_of_an_earlier_version_is_read_and_gone_on_with(begin, time):
    first = begin(controller=Failing({2}))
    told(first, time, 3)
    first.close()
    as_before(first.log)
    assert load_dataset(first.log).size == 3
    again = begin(resumes=first.folder, controller=Failing({2}))
    assert len(told(again, time, 3)) == 2 and again.status.steps == 6


def test_who_watches_from_elsewhere_sees_it_too(begin, time):
    session = begin(controller=Failing(range(2, 9)))
    told(session, time, 3)
    session.close()
    (unit,) = json.loads((session.folder / "status.json").read_text())["units"]
    assert "no answer from the rack" in unit["fault"]


@pytest.mark.filterwarnings("ignore::moore.guarding.guard.GuardAlarm")
def test_after_an_alarm_the_standing_says_that_somebody_must_agree(begin, time):
    guard = GuardSettings(returns=None, limits=[Limit("heat", high=1.0)], recovery=2)
    session = begin(mode="on", guard=guard)
    control(session, time, 1, signals={"heat": 2.0})
    assert "kept its limits for 0 readings" in session.standing[0].awaits
    control(session, time, 2, signals={"heat": 0.0})
    assert "A newer policy must pass the gate" in session.standing[0].awaits
