"""The benchmarks of growing sizes, of compiling and of other products, from made-up timings."""

import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import cells
import compilation
import growth
import products_tried
from made_log import made_log

from moore.data.dataset import validate
from moore.findings.run_checks import check_log_for_run


def row(factor, value, operation, milliseconds):
    parts = (factor, value, operation, "call", milliseconds, milliseconds, milliseconds, 8)
    return dict(zip(growth.COLUMNS, parts, strict=True))


ABOUT = {"processor": "P", "threads": 1, "clock": "wall"}


@pytest.mark.parametrize("factor", list(growth.FACTORS))
def test_one_size_is_changed_at_a_time(factor):
    base, value = growth.base(), growth.FACTORS[factor][-1]
    other, count = growth.changed(base, factor, value)
    before, after = asdict(base), asdict(other)
    config = {
        name: (before["config"][name], after["config"][name])
        for name in before["config"]
        if before["config"][name] != after["config"][name]
    }
    plain = {name for name in before if name != "config" and before[name] != after[name]}
    assert count == (value if factor == "seeds" else 1)
    changes = len(plain) + len(config)
    # A batch is that of the agent and of the models.
    assert changes == {"seeds": 0, "batch": 2}.get(factor, 1), (plain, config)
    if factor == "members":
        elites = [growth.changed(base, "members", n)[0].config.model.elites for n in (1, 14)]
        assert elites == [1, base.config.model.elites]


def test_a_time_is_that_of_one_unit_and_of_all_seeds_together(monkeypatch):
    """20 updates of 4 seeds in a call of 80 ms: 4 ms for one of all; N counts whole calls."""
    timed = cells.Timed("update", 80, 1.0, lambda: None, 7)
    made = SimpleNamespace(update=lambda: timed, fit=lambda: timed, log={})
    monkeypatch.setattr(cells, "Cells", lambda *given: made)
    monkeypatch.setattr(cells, "seconds", lambda one, repeats: iter([0.08, 0.16, 0.08]))
    update, fit = growth.measured("seeds", 4, 3)
    assert (update["milliseconds"], update["least"], update["most"]) == (4.0, 4.0, 8.0)
    assert update["operation"] == "update" and fit["operation"] == "fit" and fit["bytes"] == 7
    (whole,) = growth.measured("N", 20, 3)
    assert whole["milliseconds"] == 80.0 and whole["unit"] == "call"


def test_what_is_measured_anew_replaces_the_old_rows_and_nothing_else(tmp_path):
    path = tmp_path / "growth.csv"
    growth.write(path, [row("H", 1, "imagine", 2.0), row("H", 5, "imagine", 9.0)], ABOUT)
    growth.write(path, [row("H", 5, "imagine", 7.0), row("N", 1, "update", 1.0)], ABOUT)
    found = [(r["factor"], r["value"], r["milliseconds"]) for r in growth.read(path)]
    assert found == [("H", "1", "2.0"), ("H", "5", "7.0"), ("N", "1", "1.0")]
    growth.plot(growth.read(path), tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"


def test_rows_stand_by_size_whatever_was_measured_last(tmp_path):
    """The page says how much the last of a size takes over the first of it."""
    path = tmp_path / "growth.csv"
    preset = row("preset", "quickstart", "once", 9.0)
    growth.write(
        path, [preset, row("rows", 100_000, "fit", 2.0), row("N", 1, "update", 1.0)], ABOUT
    )
    growth.write(path, [row("rows", 20_000, "fit", 1.0)], ABOUT)
    found = [(r["factor"], r["value"]) for r in growth.read(path)]
    assert found == [
        ("rows", "20000"), ("rows", "100000"), ("N", "1"), ("preset", "quickstart"),
    ]  # fmt: skip


def test_a_preset_with_a_log_of_its_own_is_timed_on_it_and_others_on_a_made_one(monkeypatch):
    asked = []

    class Found:
        memory = 7

        def seconds(self, stage):
            return {"once": 1.0, "offline": 2.0, "online": 3.0}[stage]

    def estimate(config, *, dataset):
        named = dataset is None or isinstance(dataset, Path)
        asked.append((config.env_id, dataset if named else len(dataset.reward)))
        return Found()

    monkeypatch.setattr("moore.planning.estimate.estimate_run", estimate)
    cleared = []
    monkeypatch.setattr("jax.clear_caches", lambda: cleared.append(len(asked)))
    rows = list(growth.presets(["quickstart", "laptop/halfcheetah-medium", "plant"], 600))
    assert asked == [("Pendulum-v1", None), ("HalfCheetah-v5", 600), ("Hopper-v5", 600)]
    assert [row["milliseconds"] for row in rows] == 3 * [1000, 2000, 3000]
    assert {row["unit"] for row in rows} == {"run on its own log", "run on 600 made rows"}
    assert cleared == [0, 1, 2], "a preset is estimated with the programs of an earlier one"
    mine = Path("folder/mine.hdf5")
    rows = list(growth.presets(["quickstart", "plant"], 600, mine))
    assert asked[3:] == [("Pendulum-v1", None), ("Hopper-v5", mine)]
    assert {row["unit"] for row in rows} == {"run on its own log", "run on `mine`"}


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "Hopper-v5"])
def test_a_run_accepts_a_made_log(env_id):
    """What no run would begin with cannot be estimated either."""
    log = made_log(env_id, 20_000)
    assert len(log.reward) == 20_000 and len(log.episode_returns) == 40
    check_log_for_run(log, None)


def test_a_part_within_a_part_of_compiling_counts_once(monkeypatch):
    """Tracing from 0 to 6 s has a tracing from 1 to 3 s in it; compiling takes 4 s after it."""
    trace, _, build = compilation._PARTS
    monkeypatch.setattr(compilation.time, "process_time", iter([0, 1, 3, 6, 10, 14]).__next__)
    counted = compilation.Counted()
    for event in (trace, trace):
        counted.begin(event, 0.0)
    counted.begin("/something/else", 0.0)
    for event in ("/something/else", trace, trace):
        counted.end(event, 99.0)
    counted.begin(build, 0.0)
    counted.end(build, 99.0)
    assert (counted.programs, counted.compile, counted.whole) == (1, 4, 10)


class Fake:
    """A process whose calls take 10 ms with the first form, and half of it with any other."""

    def __init__(self, flags, clock, names):
        self.about = {"gigaflop": 2.0, "of_rows": 4.0, "sums": {"batched": 1.5}}
        if "onednn" in flags:
            self.about = None
        self.slow = not flags

    def ask(self, name):
        return 10.0 if name in ("batched", "10000 rows") and self.slow else 5.0

    def end(self):
        return "Unknown flag"


def test_other_products_are_told_as_times_as_fast_and_flags_that_fail_as_such(monkeypatch):
    monkeypatch.setattr(products_tried, "Process", Fake)
    rows = products_tried.measure("wall", 3, ["oneDNN", "XNNPACK"])
    told = {(one["flags"], one["form"]): one for one in rows}
    assert told["none", "batched"]["ratio"] == 1.0
    assert told["none", "a loop over members"]["ratio"] == 2.0
    whole, some = told["none", "10000 rows"], told["none", "500 rows"]
    assert (whole["ratio"], some["ratio"], some["gigaflop_per_second"]) == (1.0, 2.0, 800.0)
    assert told["none", "NumPy"]["gigaflop_per_second"] == 400.0
    assert told["XNNPACK", "batched"]["ratio"] == 2.0
    assert told["oneDNN", "batched"] == {
        "flags": "oneDNN", "form": "batched", "note": "Unknown flag",
    }  # fmt: skip


def test_a_made_log_has_the_shape_of_its_environment():
    log = made_log("InvertedPendulum-v5", 60, episode=20)
    validate(log)
    assert (log.obs.shape, log.action.shape, len(log.episode_returns)) == ((60, 4), (60, 1), 3)
    assert (log.next_obs[:-1] == log.obs[1:]).all() and abs(log.action).max() > 1.0
