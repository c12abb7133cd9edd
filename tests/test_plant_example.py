"""The worked example: a plant, its log, its old controller, and one day in small."""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "plant"))

import day
import historian
import learn
import picture
import plant
from good import reward
from operate import (
    CHECK_BATCHES,
    FIRST_BATCHES,
    PROVEN_BATCHES,
    ShiftLeader,
)
from pid import Pid
from signals import OPEN_MIN, SETTLED_MIN, JacketSensor, Settling
from tank import BATCH_MIN, HIGH_PERCENT, LOW_PERCENT, Readings, Tank

import moore
from moore import algorithms
from moore.cli import COMMANDS
from moore.formats.load import load_dataset, read_log
from moore.runs.log_checks import with_horizon

EXAMPLE = Path(historian.__file__).parent


def held(valve_percent, minutes, seed=0, **faults):
    """What is read after so many minutes with this output."""
    tank = Tank(seed)
    tank.faults = faults
    for _ in range(minutes):
        tank.run(valve_percent)
    return tank.read()


class TestTank:
    def test_steam_heats_through_the_jacket_and_water_cools(self):
        hot, cold = held(HIGH_PERCENT, 10), held(LOW_PERCENT, 10)
        assert hot.jacket_C > hot.temperature_C > 50.0
        assert cold.jacket_C < cold.temperature_C < 40.0

    def test_closed_valves_let_the_feed_cool_it(self):
        assert held(0.0, 600).temperature_C == pytest.approx(14.0, abs=4.0)

    def test_an_output_beyond_its_range_is_as_good_as_its_end(self):
        assert held(500.0, 5) == held(HIGH_PERCENT, 5)

    def test_a_fault_changes_what_it_says(self):
        healthy = held(60.0, 20)
        loose = held(60.0, 20, jacket_reads_C=20.0)
        assert loose == healthy._replace(jacket_C=pytest.approx(20.0, abs=0.5))
        assert held(60.0, 20, fouling_percent=50.0).temperature_C < healthy.temperature_C - 1.0
        assert held(60.0, 20, stuck_valve_percent=0.0).valve_percent == 0.0


@pytest.fixture(scope="module")
def log_of_a_week(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    historian.write(path, 1, seed=0)
    shutil.copy(EXAMPLE / "columns.toml", path.with_suffix(".toml"))
    return path


class TestHistorian:
    def test_a_week_is_a_log_that_moore_reads(self, log_of_a_week):
        log = load_dataset(log_of_a_week, reward=reward)
        assert log.obs.shape[1] == len(Readings._fields)
        assert 5 * 24 * 0.8 < len(log.episode_returns) <= 5 * 24
        assert not log.terminated.any()

    def test_its_rows_are_those_of_the_plant(self, log_of_a_week):
        log = read_log(log_of_a_week, reward=reward)
        seen, action = Readings(*log.obs.T), log.action[:, 0]
        stays = ~log.truncated[:-1]
        assert np.abs(action[:-1] - log.obs[1:, 3])[stays].max() < 5.0, "the valves follow"
        assert seen.set_point_C.min() >= 44.0 and seen.set_point_C.max() <= 66.0

    def test_operators_take_the_valves_and_the_clock_has_gaps(self, log_of_a_week):
        with log_of_a_week.open() as file:
            rows = list(csv.DictReader(file))[1:]
        by_hand = np.mean([row["TIC101.MODE"] == "MAN" for row in rows])
        assert 0.01 < by_hand < 0.1
        assert {row["time"][:10] for row in rows} == {f"2026-03-0{day}" for day in range(2, 7)}

    def test_the_same_seed_is_the_same_log(self, log_of_a_week, tmp_path):
        historian.write(tmp_path / "again.csv", 1, seed=0)
        assert (tmp_path / "again.csv").read_bytes() == log_of_a_week.read_bytes()


def test_what_is_good_is_near_the_set_point_with_calm_valves():
    obs = np.array([[50.0, 60.0, 5.0, 20.0, 55.0]] * 2)
    after = np.array([[54.0, 60.0, 5.0, 20.0, 44.0], [50.0, 60.0, 5.0, 120.0, 44.0]])
    assert reward(obs, np.array([[20.0], [100.0]]), after) == pytest.approx([-1.0, -5.8])


@pytest.mark.parametrize("text", ["x=1@3-4", "fouling_percent", "fouling_percent=a@3-4", ""])
def test_a_fault_that_is_none_is_told_with_those_there_are(text):
    with pytest.raises(argparse.ArgumentTypeError, match="the faults are jacket_reads_C, foul"):
        plant.fault_of(text)


def asked(address, content=None):
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(urllib.request.Request(address, body), timeout=5) as answer:
        return json.loads(answer.read())


class TestPlant:
    @pytest.fixture
    def serve(self):
        servers = []

        def serve(pace_s=0.0, faults=()):
            here = plant.Plant(Tank(0), pace_s, [plant.fault_of(fault) for fault in faults])
            servers.append(plant.serve(here, 0))
            threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
            return here, f"http://127.0.0.1:{servers[-1].server_address[1]}"

        yield serve
        for server in servers:
            server.shutdown()
            server.server_close()

    def test_its_clock_waits_for_an_output(self, serve):
        _, address = serve()
        before = asked(f"{address}/readings")
        assert before["minute"] == 0 and asked(f"{address}/readings") == before
        after = asked(f"{address}/output", {"valve_percent": 40.0})
        assert after["minute"] == 1 and 0.0 < after["valve_percent"] <= 40.0

    def test_or_goes_on_by_itself_and_holds_the_last_output(self, serve):
        here, address = serve(pace_s=0.01)
        threading.Thread(target=here.run_clock, daemon=True).start()
        asked(f"{address}/output", {"valve_percent": 40.0})
        while (told := asked(f"{address}/readings"))["minute"] < 20:
            pass
        assert told["valve_percent"] == pytest.approx(40.0, abs=0.5)

    def test_a_fault_comes_and_goes(self, serve):
        _, address = serve(faults=["jacket_reads_C=20@1-2"])
        told = [asked(f"{address}/output", {"valve_percent": 0.0}) for _ in range(3)]
        assert ["jacket_reads_C" in one for one in told] == [False, True, False]
        assert asked(f"{address}/faults", {"fouling_percent": 30})["fouling_percent"] == 30.0

    @pytest.mark.parametrize(
        ("path", "content"),
        [
            ("output", {"valve_percent": "open"}),
            ("output", {"valve_percent": float("nan")}),
            ("output", {"valve": 1.0}),
            ("output", [1.0]),
            ("faults", {"fire": 1.0}),
            ("nothing", {"valve_percent": 1.0}),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, serve, path, content):
        _, address = serve()
        with pytest.raises(urllib.error.HTTPError, match="400"):
            asked(f"{address}/{path}", content)
        assert asked(f"{address}/readings")["minute"] == 0


class TestShiftLeader:
    def test_shadow_then_trials_then_on(self):
        leader, modes = ShiftLeader(), ["shadow"]
        for batch in range(20):
            promoted = batch >= FIRST_BATCHES + 2
            modes.append(leader.mode(modes[-1], trusted=True, promoted=promoted))
        canary = FIRST_BATCHES + 2 + PROVEN_BATCHES
        assert modes[:FIRST_BATCHES] == ["shadow"] * FIRST_BATCHES
        assert set(modes[FIRST_BATCHES:canary]) == {"canary"} and set(modes[canary:]) == {"on"}

    @pytest.mark.parametrize("before", ["canary", "on"])
    def test_after_an_alarm_shadow_again(self, before):
        leader = ShiftLeader()
        modes = [leader.mode(before, trusted=False, promoted=False)]
        while modes[-1] == "shadow":
            modes.append(leader.mode("shadow", trusted=True, promoted=False))
        assert modes == ["shadow"] * CHECK_BATCHES + ["canary"]

    def test_as_long_as_the_session_trusts_no_policy_it_stays_in_shadow(self):
        leader = ShiftLeader()
        for before in ("on", *["shadow"] * 2 * CHECK_BATCHES):
            assert leader.mode(before, trusted=False, promoted=False) == "shadow"
        assert leader.mode("shadow", trusted=True, promoted=False) == "canary"

    def test_a_demotion_begins_the_proof_anew(self):
        leader = ShiftLeader()
        for promoted in (True, True, False, True, True):
            assert leader.mode("canary", trusted=True, promoted=promoted) == "canary"


def test_a_deviation_counts_once_the_temperature_should_have_settled():
    settling, seen = Settling(), Readings(50.0, 60.0, 5.0, 20.0, 64.0)
    told = [settling.deviation_K(seen, seen) for _ in range(SETTLED_MIN + 2)]
    assert told == [0.0] * SETTLED_MIN + [14.0, 14.0]
    other = seen._replace(set_point_C=47.0)
    assert settling.deviation_K(other, other) == 0.0


def test_a_jacket_sensor_without_its_wire_is_seen_as_soon_as_steam_flows():
    sensor, steamed = JacketSensor(), Readings(50.0, 60.0, 5.0, 30.0, 64.0)
    loose = steamed._replace(jacket_C=20.0)
    assert [sensor.wrong_side_K(steamed) for _ in range(2 * OPEN_MIN)] == [0.0] * 2 * OPEN_MIN
    assert sensor.wrong_side_K(loose) == 30.0
    cooled = loose._replace(valve_percent=-30.0)
    assert [sensor.wrong_side_K(cooled) for _ in range(OPEN_MIN)] == [0.0] * OPEN_MIN
    assert sensor.wrong_side_K(cooled._replace(jacket_C=55.0)) == 5.0


class TestContainers:
    COMPOSE = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]

    def test_every_service_runs_a_file_or_a_command_that_exists(self):
        assert set(self.COMPOSE) == {"plant", "offline", "session", "page"}
        for name, service in self.COMPOSE.items():
            program, what, *_ = service["command"].split()
            assert program in ("python", "sh", "moore"), name
            assert what in COMMANDS if program == "moore" else (EXAMPLE / what).is_file(), name
            assert set(service.get("depends_on", ())) <= set(self.COMPOSE)
            assert (
                EXAMPLE / service["build"]["context"] / service["build"]["dockerfile"]
            ).is_file()
            assert service["network_mode"] == "host" and "ports" not in service

    def test_every_option_of_its_scripts_is_one_of_theirs(self):
        for service in self.COMPOSE.values():
            program, script, *words = service["command"].split()
            if program == "python":
                text = (EXAMPLE / script).read_text()
                for option in filter(lambda word: word.startswith("--"), words):
                    assert f'add_argument("{option}"' in text, (script, option)

    def test_what_the_image_copies_exists(self):
        lines = (EXAMPLE / "Dockerfile").read_text().splitlines()
        copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
        root = EXAMPLE.parents[1]
        assert copied and all(any(root.glob(path)) for paths in copied for path in paths)


def test_all_that_learns_looks_three_settling_times_ahead():
    config = learn.settings(seed=1)
    config = with_horizon(config, algorithms.find(config.algorithm).agent.sections)
    assert config.ppo.discount == config.td3.discount == pytest.approx(1.0 - 1.0 / 45.0)


def test_the_values_of_the_online_stage_have_settled_before_anything_acts():
    config = with_horizon(learn.settings(seed=1), ["td3"]).td3
    settles_in = 1.0 / (config.target_rate * (1.0 - config.discount))
    assert config.warm_up / settles_in == pytest.approx(4.0)


def test_and_are_those_of_valves_that_move_as_little_as_settled_ones():
    config = learn.settings(seed=1).td3
    percent = (HIGH_PERCENT - LOW_PERCENT) / 2.0
    assert config.target_noise * percent <= config.target_noise_limit * percent <= 5.0
    assert config.critic_subset == 1, "what the lower of two costs adds up over the horizon"


def small(config):
    """The settings of the example, so small that nothing is learned."""
    model = replace(config.model, members=2, elites=2, hidden=(8,), weight_decay=(0.0,) * 3,
                    max_fit_steps=20, max_refit_steps=5)  # fmt: skip
    ppo = replace(config.ppo, hidden=(8,), batch_size=32, critic_warm_up=5, critic_first=5)
    td3 = replace(config.td3, hidden=(8,), batch_size=32, return_updates=5, warm_up=5)
    offline = replace(config.offline, epochs=1, updates_per_epoch=5, rollout_batch=8)
    online = replace(config.online, updates_per_step=1, rollout_batch=8)
    gate = replace(config.gate, rollouts=4)
    learning = {"ppo": ppo, "td3": td3, "offline": offline, "online": online}
    return replace(config, model=model, gate=gate, **learning)


@pytest.mark.slow
def test_a_day_in_small_goes_from_shadow_to_canary_and_is_drawn(log_of_a_week, tmp_path):
    """Plant, session and page, each a process of its own, for some batches with a fault."""
    log = tmp_path / "log.hdf5"
    convert = f"convert {log_of_a_week} --reward good:reward --out {log}"
    command = [sys.executable, "-m", "moore", *convert.split()]
    subprocess.run(command, env=day.environment(), check=True, capture_output=True)
    limits = [sys.executable, str(EXAMPLE / "limits.py"), "--log", str(log_of_a_week)]
    subprocess.run([*limits, "--out", str(tmp_path / "limits.toml")], check=True)
    moore.run(
        small(learn.settings(seed=1)), dataset=str(log), env=learn.plant(), stages="offline",
        out=tmp_path / "offline", quiet=True,
    )  # fmt: skip
    count = FIRST_BATCHES + 1
    out = tmp_path / "day"
    day.play(tmp_path, out, seed=3, batches=count, fault="jacket_reads_C=20@370-400")
    trend = picture.read_trend(out / "trend.csv")
    assert trend["minute"].tolist() == list(range(count * BATCH_MIN))
    shadow = FIRST_BATCHES * BATCH_MIN
    assert set(trend.texts["mode"][:shadow]) == {"shadow"}
    assert set(trend.texts["actor"][:shadow]) == {"old"}
    assert trend.texts["mode"][shadow] == "canary"
    logged = read_log(out / "session" / "log")
    assert logged.action[:, 0] == pytest.approx(trend["output_percent"], abs=1e-3)
    assert (trend["budget_K"] >= 0.0).all()
    seen = np.stack([trend[name] for name in Readings._fields], axis=1)
    alone = Pid()
    outputs = [float(alone.act(row)[0]) for row in seen[:shadow]]
    assert outputs == pytest.approx(trend["output_percent"][:shadow], abs=1e-2)
    actor, moved = np.array(trend.texts["actor"]), np.diff(trend["output_percent"])
    assert np.abs(moved[actor[1:] != actor[:-1]]).max(initial=0.0) <= 30.0 + 1e-3, "no bump"
    picture.draw(trend, out / "day.png", broken_h=(6.2, 6.7))
    assert (out / "day.png").stat().st_size > 10_000
    assert trend.texts["alarm"][-1]
    with ExitStack() as stack:
        _, told = day.started(stack, EXAMPLE / "plant.py", "--port", "0", "--seed", "4")
        again, _ = day.started(
            stack, EXAMPLE / "operate.py", "--plant", told.split()[0], "--batches", "1",
            "--run", tmp_path / "offline", "--log", log, "--limits", tmp_path / "limits.toml",
            "--out", out / "session", "--trend", out / "trend.csv",
        )  # fmt: skip
        assert again.wait() == 0
    gone_on = picture.read_trend(out / "trend.csv")
    assert len(gone_on["minute"]) == len(trend["minute"]) + BATCH_MIN
    assert gone_on.texts["alarm"][len(trend["minute"])] == trend.texts["alarm"][-1]
