"""Guard, limits, interlocks and time-outs from a file."""

import math

import numpy as np
import pytest

from moore.errors import InputError
from moore.guarding.limits_file import read_limits
from moore.guarding.signals import Limit
from moore.guarding.supervision import Supervision

EVERYTHING = """
[guard]
returns = [1, 2.5]
error = 0.1
range = [-300, 0.0]
units = 2
recovery = 12

[signals.level]
high = 4.5
[signals."reactor temperature"]
low = -inf
rate = 3
allowed = 0.01
block = 60

[actions]
low = [0.0, -1]
rate = [2.0, 1.0]
transfer_rate = [0.5, 0.25]

[timeouts]
between_calls = 2
"""


@pytest.fixture
def limits(tmp_path):
    """Reads limits from a file with this text."""

    def limits(text):
        path = tmp_path / "limits.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_limits(path)

    return limits


def test_everything_is_read(limits):
    found = limits(EVERYTHING)
    guard = found.guard
    assert (guard.returns, guard.error, guard.units, guard.recovery) == ((1.0, 2.5), 0.1, 2, 12)
    assert (guard.range.low, guard.range.high, guard.tolerance) == (-300.0, 0.0, 0.0)
    assert list(guard.limits) == [
        Limit("level", high=4.5),
        Limit("reactor temperature", rate=3.0, allowed=0.01, block=60),
    ]
    assert found.transfer_rate.tolist() == [0.5, 0.25]
    assert (found.dead_man.between_calls, found.dead_man.observation_age) == (2.0, math.inf)


def test_what_is_left_out_is_the_bound_of_the_action(limits):
    low, high = np.array([-0.5, -1.0], np.float32), np.array([8.0, 8.0], np.float32)
    locks = Supervision("clone", low, high, interlocks=limits(EVERYTHING).interlocks).interlocks
    assert locks.low.tolist() == [0.0, -1.0] and locks.high.tolist() == [8.0, 8.0]
    assert locks.rate.tolist() == [2.0, 1.0]


@pytest.mark.parametrize("rate", ["1.5", "[1.5, 1.5]"])
def test_a_number_holds_for_every_entry_of_the_action(limits, rate):
    low, high = np.array([0.0, -5.0], np.float32), np.array([100.0, 100.0], np.float32)
    locks = limits(f"[actions]\nhigh = 95\nrate = {rate}\n").interlocks
    locks = Supervision("clone", low, high, interlocks=locks).interlocks
    assert locks.low.tolist() == [0.0, -5.0] and locks.high.tolist() == [95.0, 95.0]
    assert locks.rate.tolist() == [1.5, 1.5]


def test_a_list_of_another_length_is_none_for_every_entry(limits):
    low, high = np.array([0.0, -5.0], np.float32), np.array([100.0, 100.0], np.float32)
    locks = limits("[actions]\nhigh = [95]\n").interlocks
    with pytest.raises(InputError, match=r"expected bounds within those of the actions, \[0"):
        Supervision("clone", low, high, interlocks=locks)


def test_a_bound_that_float32_rounds_is_still_that_of_the_action(limits):
    low, high = np.array([-0.1], np.float32), np.array([0.1], np.float32)
    locks = limits("[actions]\nlow = -0.1\nhigh = 0.1\n").interlocks
    assert Supervision("clone", low, high, interlocks=locks).interlocks is not None


def test_a_signal_alone_makes_a_guard_and_nothing_makes_none(limits):
    assert limits("[signals.level]\nhigh = 1\n").guard.returns == "log"
    assert limits("[guard]\nreturns = 'none'\n").guard.returns is None
    assert limits("\ufeff# nothing\n").arguments == {
        "guard": None, "interlocks": None, "transfer_rate": None, "dead_man": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[signal.level]\nhigh = 1", "no table 'signal'; the known ones are signals, guard"),
        ("[signals.level]\nhi = 1", "unknown setting 'signals.level.hi'"),
        ("[signals.level]\nname = 'x'", "'signals.level' is a table of limits"),
        ("[signals]\nlevel = 3", "'signals.level' is a table of limits"),
        ("signals = 3", "'signals' is a table"),
        ("[signals.level]\nhigh = '4'", "'signals.level.high' is '4'; expected float"),
        ("[signals.level]\nhigh = nan", "signal level has the limits"),
        ("[signals.level]\nlow = 2\nhigh = 1", "signal level has the limits 2.0 and 1.0"),
        ("[signals.level]\nallowed = 1.5", "signal level has allowed 1.5"),
        ("[guard]\nreturns = 'logs'", "'guard.returns' is 'logs'"),
        ("[guard]\nrange = [1]", "'guard.range' has 1 numbers"),
        ("[guard]\nrange = [1, 0]", "the range of returns is 1.0 to 0.0"),
        ("[guard]\nunits = 0", "units is 0"),
        ("[guard]\nerror = true", "'guard.error' is True; expected float"),
        ("[actions]\nlow = [0, 0]\nrate = [1]", "differ in their number of entries"),
        ("[actions]\nrate = 0", "the rate limits are"),
        ("[actions]\nrate = ['fast']", "'actions.rate' is 'fast'; expected float"),
        ("[actions]\nlow = 2\nhigh = 1", "the bounds are"),
        ("[timeouts]\nbetween_calls = -1", "between_calls is -1.0"),
        ("[guard", "is not valid TOML"),
        (b"\xff\xfe\x00", "is not valid TOML"),
        ("a = " + "[" * 100_000, "is not valid TOML"),
    ],
)
def test_nonsense_is_told_with_the_name_of_the_file(limits, text, words):
    with pytest.raises(InputError, match=r"limits\.toml") as error:
        limits(text)
    assert words in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"^[^()]*none\.toml cannot be read"):
        read_limits(tmp_path / "none.toml")
