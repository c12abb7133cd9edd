"""The old controller of the worked example, and the limits that are found in its log."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "plant"))

import historian
import limits
import pid
import tank
from good import reward
from pid import Pid
from tank import BATCH_MIN, HIGH_PERCENT, Readings, Tank

from moore.guarding.limits_file import read_limits


def batches(count, controller=None, **faults):
    """The deviations of a controller, (batches, minutes), in kelvins."""
    plant, controller, deviations = Tank(0), controller or Pid(), []
    plant.faults = faults
    for _ in range(count * BATCH_MIN):
        seen = plant.read()
        plant.run(float(controller.act(np.array(seen))[0]))
        deviations.append(plant.read().temperature_C - seen.set_point_C)
    return np.reshape(deviations, (count, BATCH_MIN))


def earned(controller, *, days=10, seed=50):
    """Mean return of a controller's batches, which lack their last minutes, as in the log."""
    plant, rows = Tank(seed), []
    for _ in range(days * 1440):
        seen = plant.read()
        output = controller.act(np.array(seen))
        plant.run(float(output[0]))
        rows.append((seen, output, plant.read()))
    rewards = reward(*map(np.array, zip(*rows, strict=True)))
    return rewards.reshape(-1, BATCH_MIN)[:, :-1].sum(axis=1).mean()


def asked(controller, temperature_C=50.0, set_point_C=50.0, valve_percent=0.0):
    """Its output in percent."""
    now = Readings(temperature_C, temperature_C + 5.0, 5.0, valve_percent, set_point_C)
    return float(controller.act(np.array(now))[0])


def step_test(monkeypatch):
    """Gain in kelvins for each percent, dead time and time constant in minutes, at 55 °C.

    By two points of the answer (Smith 1972): 28.3% and 63.2% of it.
    """
    monkeypatch.setattr(tank, "_SENSOR_K", 0.0)
    monkeypatch.setattr(Tank, "_disturb", lambda self: None)
    plant = Tank(0)
    for _ in range(2000):
        plant.run(31.9)
    before, answer = plant.read().temperature_C, []
    for _ in range(600):
        plant.run(31.9 + 20.0)
        answer.append(plant.read().temperature_C - before)
    early, late = (np.interp(share * answer[-1], answer, range(1, 601)) for share in (0.283, 0.632))
    constant = 1.5 * (late - early)
    return answer[-1] / 20.0, late - constant, constant


class TestTuning:
    def test_its_constants_are_those_of_the_step_test(self, monkeypatch):
        gain_K_percent, dead_min, constant_min = step_test(monkeypatch)
        assert (gain_K_percent, dead_min, constant_min) == pytest.approx((1.3, 2.0, 68.0), rel=0.06)
        closed_min = 11.0 + dead_min
        asked_for = constant_min / (gain_K_percent * closed_min)
        assert pytest.approx(asked_for, rel=0.05) == pid.GAIN_PERCENT_K
        assert 4.0 * closed_min > 3.5 * pid.RESET_MIN, "a reset that is too short"
        assert pytest.approx(dead_min / 2.0, rel=0.06) == pid.RATE_MIN

    def test_it_brings_the_tank_to_its_set_point_but_badly(self):
        old, better = np.abs(batches(6)), np.abs(batches(6, Pid(gain=12.0, reset_min=8.0)))
        assert old[:, -1].mean() < 3.0
        assert better.mean() < 0.7 * old.mean()

    def test_it_earns_what_the_tutorial_says(self):
        """In two weeks of five days without hand moves, as does the one that is tuned well."""
        page = (Path(historian.__file__).parents[2] / "docs" / "tutorial-plant.md").read_text(
            "utf-8"
        )
        old = re.search(r"the PID controller (-\d+)\.", page)[1]
        tuned = re.search(r"gain=12\.0, reset_min=8\.0.*?\((-\d+) a", page, re.DOTALL)[1]
        assert earned(Pid()) == pytest.approx(float(old), abs=0.6)
        assert earned(Pid(gain=12.0, reset_min=8.0)) == pytest.approx(float(tuned), abs=0.6)

    def test_it_does_not_look_at_the_jacket(self):
        assert (batches(2) == batches(2, jacket_reads_C=20.0)).all()


class TestPid:
    def test_it_begins_where_the_valves_are(self):
        assert asked(Pid(), valve_percent=37.0) == pytest.approx(37.0)
        off = asked(Pid(), set_point_C=53.0, valve_percent=37.0)
        assert off == pytest.approx(37.0 + 4.0 * 3.0 / 12.0), "and a first minute of the integral"

    def test_its_integral_grows_by_itself_whatever_the_valves_do(self):
        controller = Pid(gain=4.0, reset_min=12.0)
        told = [asked(controller, set_point_C=53.0, valve_percent=v) for v in (0.0, 90.0, -50.0)]
        assert told == pytest.approx([1.0, 2.0, 3.0])

    def test_its_derivative_opposes_a_temperature_that_moves(self):
        controller = Pid(gain=2.0, reset_min=1e9, rate_min=5.0)
        told = [asked(controller, t, set_point_C=t, valve_percent=20.0) for t in (50.0, 51.0, 51.0)]
        # The slope of 1 K a minute comes through the filter by half, and decays.
        assert told == pytest.approx([20.0, 20.0 - 5.0, 20.0 - 2.5])

    def test_a_new_set_point_makes_no_kick_of_the_derivative(self):
        outputs = []
        for rate_min in (0.0, 5.0):
            controller = Pid(rate_min=rate_min)
            outputs.append([asked(controller), asked(controller, set_point_C=60.0)])
        assert outputs[0] == outputs[1]

    def test_it_does_not_wind_up_at_the_end_of_its_range(self):
        controller = Pid()
        for _ in range(300):
            assert asked(controller, set_point_C=90.0) <= HIGH_PERCENT
        hot = [asked(controller, set_point_C=49.0) for _ in range(3)]
        assert max(hot) < 0.0, "40 K less of error are 160% less of output, at once"


class TestSomebodyElse:
    """While a hand, a policy or an interlock moves the valves, the controller follows."""

    @pytest.mark.parametrize("sent", [-80.0, 15.0, 100.0])
    def test_it_goes_on_from_what_was_sent(self, sent):
        controller, seen = Pid(), np.array(Readings(50.0, 55.0, 5.0, sent, 53.0))
        for _ in range(20):
            controller.act(seen)
            controller.track(seen, np.array([sent], np.float32))
        per_minute = 4.0 * 3.0 / 12.0
        assert controller.act(seen)[0] == pytest.approx(min(sent + per_minute, 100.0))

    def test_to_be_told_of_its_own_output_changes_nothing(self):
        alone, told, plant = Pid(), Pid(), Tank(0)
        for _ in range(3 * BATCH_MIN):
            seen = np.array(plant.read())
            output = alone.act(seen)
            assert told.act(seen) == pytest.approx(output, abs=1e-3)
            told.track(seen, output.astype(np.float32))
            plant.run(float(output[0]))

    def test_without_being_told_it_would_wind_up(self):
        seen = np.array(Readings(50.0, 55.0, 5.0, 0.0, 53.0))
        controller = Pid()
        for _ in range(60):
            controller.act(seen)
        assert controller.act(seen)[0] > 50.0

    def test_it_takes_over_in_the_middle_of_a_batch_without_a_bump(self):
        plant, controller, sent = Tank(3), Pid(), 0.0
        for _ in range(90):  # somebody holds it by hand, with a gain that is another
            seen = plant.read()
            controller.act(np.array(seen))
            sent = 2.0 * (seen.set_point_C - seen.temperature_C) + 20.0
            controller.track(np.array(seen), np.array([sent]))
            plant.run(sent)
        assert abs(controller.act(np.array(plant.read()))[0] - sent) < 5.0


class TestLimits:
    def write(self, path, batches, worst_K=5.0, **of_batch):
        """A log whose temperature is so far off its set point in each batch's last minutes."""
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([historian.HEADER, historian.UNITS])
            for batch in range(1, batches + 1):
                mode = "MAN" if batch == of_batch.get("by_hand") else "AUTO"
                off = 40.0 if mode == "MAN" else worst_K * batch / batches
                for minute in range(BATCH_MIN - 10 * (batch == of_batch.get("short"))):
                    temperature = 50.0 + off * (minute > 30)
                    row = ("", temperature, 60.0, 5.0, 10.0, 50.0 + 1e-3 * batch, 10.0, mode, batch)
                    rows.writerow(row)
        return path

    def test_the_limit_is_what_nearly_all_batches_have_kept_and_a_kelvin(self, tmp_path):
        worst = list(limits.worst_of_batches(self.write(tmp_path / "log.csv", 11)))
        assert len(worst) == 10, "the first has none before it"
        assert limits.limits(worst) == {"deviation_K": 6.0, "jacket_K": 1.0}

    def test_what_a_hand_has_done_does_not_count_nor_the_batch_after_it(self, tmp_path):
        log = self.write(tmp_path / "log.csv", 12, by_hand=4, short=9)
        assert len(list(limits.worst_of_batches(log))) == 11 - 2 - 1
        assert max(one["deviation_K"] for one in limits.worst_of_batches(log)) < 6.0

    def test_its_file_is_one_that_a_session_reads(self, tmp_path, monkeypatch):
        log, out = self.write(tmp_path / "log.csv", 11), tmp_path / "limits.toml"
        monkeypatch.setattr(sys, "argv", ["limits.py", "--log", str(log), "--out", str(out)])
        limits.main()
        found = {limit.name: limit.high for limit in read_limits(out).guard.limits}
        assert found == {"deviation_K": 6.0, "jacket_K": 1.0}
