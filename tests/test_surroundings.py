"""A run in surroundings of the user's: settings of JAX, folders, systems, notebooks."""

import contextlib
import os
import struct
import subprocess
import sys
import tempfile
from dataclasses import make_dataclass
from pathlib import Path

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import strict_jax
from moore.agents.awac import AWACConfig
from moore.cli.parse import parse
from moore.config import Config, EvaluationConfig, OfflineConfig, OnlineConfig
from moore.envs.evaluation import evaluate_policy
from moore.errors import InputError
from moore.files import whole_path
from moore.jax_settings import key_of, plain_jax, users_jax
from moore.runs import summary
from moore.runs.folder import read_metrics
from moore.runs.policy import load_policy
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from tiny import ENV, LinearGaussian, tiny_config, tiny_log


def short(**changes) -> Config:
    """AWAC: few programs to compile; two short epochs online."""
    return tiny_config(
        algorithm="awac",
        awac=AWACConfig(hidden=(8,), batch_size=16),
        offline=OfflineConfig(epochs=1, updates_per_epoch=5),
        online=OnlineConfig(epochs=2, steps_per_epoch=25, refit_every=25, updates_per_step=1),
        evaluation=EvaluationConfig(episodes=2),
        **changes,
    )


def learned(folder: Path) -> list[dict]:
    rows = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


# --- JAX ---


@contextlib.contextmanager
def a_program_with_wishes():
    """All settings that another package of the same program may have given to JAX."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_nans(True),
        jax.default_prng_impl("rbg"),
    ):
        yield


class InJax(LinearGaussian):
    """An environment that computes with JAX itself, and remembers how."""

    def __init__(self, seen: set):
        self.seen = seen

    def step(self, action):
        self.seen.add(str(jnp.zeros(1).dtype))
        return super().step(action)


@pytest.fixture
def the_packages_own_settings():
    """Those that its runs have outside of these tests."""
    with strict_jax.as_users_have_it():
        yield


@pytest.mark.usefixtures("the_packages_own_settings")
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(tiny_config(), marks=pytest.mark.slow, id="moore"),
        pytest.param(short(), id="awac"),
    ],
)
def test_a_run_does_the_same_in_a_program_of_64_bits(config, tmp_path):
    run(config, dataset=tiny_log(), env=ENV, out=tmp_path / "plain", quiet=True)
    seen = set()
    with a_program_with_wishes():
        run(
            config,
            dataset=tiny_log(),
            env=lambda: gym.wrappers.TimeLimit(InJax(seen), 20),
            out=tmp_path / "wishes",
            quiet=True,
        )
        policy = load_policy(tmp_path / "wishes")
        acted = policy(np.ones((2, 1)))
    assert learned(tmp_path / "wishes") == learned(tmp_path / "plain")
    np.testing.assert_array_equal(load_policy(tmp_path / "plain")(np.ones((2, 1))), acted)
    assert seen == {"float64"}, "the user's environment has the user's settings"
    assert acted.dtype == np.float32


def test_settings_of_jax_come_back():
    def width():
        return jnp.zeros(1).dtype.itemsize

    with jax.enable_x64(True):
        with plain_jax():
            assert width() == 4
            with users_jax():
                assert width() == 8
                with plain_jax():
                    assert width() == 4
            with pytest.raises(ZeroDivisionError), users_jax():
                raise ZeroDivisionError
            assert width() == 4 and key_of(3) == jax.random.key(3)
        assert width() == 8
    with plain_jax(), users_jax():
        assert width() == 4


class SetsJax(LinearGaussian):
    """An environment that wants 64 bits, as soon as it is made or only when it is stepped."""

    def __init__(self, when: str):
        self.when = when
        self.wish("made")

    def wish(self, now: str):
        if now == self.when:
            jax.config.update("jax_enable_x64", True)
        return jnp.zeros(1).dtype.itemsize

    def step(self, action):
        assert self.wish("stepped") == 8, "it has what it wants"
        return super().step(action)


@pytest.mark.parametrize("when", ["made", "stepped"])
def test_an_environment_that_sets_jax_sets_it_for_itself(when, tmp_path):
    run(short(), dataset=tiny_log(), env=ENV, out=tmp_path / "plain", quiet=True)
    wishes = lambda: gym.wrappers.TimeLimit(SetsJax(when), 20)  # noqa: E731
    try:
        run(short(), dataset=tiny_log(), env=wishes, out=tmp_path / "wishes", quiet=True)
        assert jnp.zeros(1).dtype.itemsize == 8, "the rest of the program has it, too"
    finally:
        jax.config.update("jax_enable_x64", False)
    assert learned(tmp_path / "wishes") == learned(tmp_path / "plain")


def test_the_package_can_be_imported_where_jax_has_its_own_settings():
    """Also where the computation itself would be another: nothing is computed at an import."""
    settings = {
        "JAX_ENABLE_X64": "1",
        "JAX_DEBUG_NANS": "1",
        "JAX_DISABLE_JIT": "1",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_PLATFORMS": "nonsense",
    }
    code = "import moore.cli, moore.runs.run, moore.collecting.collect, moore.reports.compare_page"
    subprocess.run([sys.executable, "-c", code], env=os.environ | settings, check=True)


# --- Folders ---


class Wanders(LinearGaussian):
    """A simulator that changes the working folder, where it has its files."""

    home: Path

    def reset(self, *, seed=None, options=None):
        struct.pack("i", seed or 0)  # and takes its seed as C does
        os.chdir(self.home)
        return super().reset(seed=seed)


def wandering() -> gym.Env:
    return gym.wrappers.TimeLimit(Wanders(), 20)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The user's folder, which is the working one, and the simulator's."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(Wanders, "home", there, raising=False)
    return here, there


def test_a_simulator_that_changes_the_folder_moves_no_file(places, monkeypatch):
    here, there = places
    config = short(tensorboard=True, seed=2**63 - 1)
    until = lambda row, state: row["epoch"] == 1  # noqa: E731
    kept = {"dataset": tiny_log(), "env": wandering, "quiet": True}
    run(config, out="runs/a", until=until, **kept)
    monkeypatch.chdir(here)
    result = resume("runs/a", **kept)
    assert result.folder == here / "runs" / "a" and len(learned(result.folder)) == 5
    monkeypatch.chdir(here)
    run(config, out="runs/b", stages="online", start_from="runs/a", **kept)
    assert (here / "runs/b/summary.json").exists() and (here / "runs/b/report.html").exists()
    monkeypatch.chdir(here)
    assert run(config, stages="offline", **kept).folder.parent == here / "runs"
    assert [p.name for p in here.iterdir()] == ["runs"] and not list(there.iterdir())


def test_priorities_are_read_before_a_simulator_changes_the_folder(places):
    here, there = places

    def makes_its_home() -> gym.Env:
        os.chdir(there)
        return ENV()

    np.save(here / "near.npy", np.ones(tiny_log().size))
    config = tiny_config(online=OnlineConfig(scheme="near.npy"))
    setup = prepare(config, dataset=tiny_log(), env=makes_its_home)
    assert str(setup.learner.task.scheme) == "near.npy"


class Homeless(LinearGaussian):
    """A simulator that leaves the program in a folder that it removes."""

    def __init__(self):
        there = tempfile.mkdtemp()
        os.chdir(there)
        os.rmdir(there)


def test_a_working_folder_that_is_removed_stops_nothing_but_what_needs_it(places):
    here, _ = places
    nowhere = lambda: gym.wrappers.TimeLimit(Homeless(), 20)  # noqa: E731
    kept = {"dataset": tiny_log(), "env": nowhere, "quiet": True}
    assert run(short(), out="a", **kept).folder == here / "a"
    with pytest.raises(InputError, match="the working folder does not exist any more"):
        run(short(), out="b", **kept)
    assert (run(short(), out=here / "b", **kept).folder / "report.html").exists()


def test_a_path_that_is_no_text_is_refused_because_reports_could_not_name_it(tmp_path):
    with pytest.raises(InputError, match="no text"):
        run(short(), dataset=tiny_log(), env=ENV, out=os.fsdecode(b"run-\xff"), quiet=True)


def test_a_path_from_home_is_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert whole_path("~/runs") == tmp_path / "runs"
    assert whole_path("runs").is_absolute() and whole_path(Path("/a/../b")).name == "b"
    with pytest.raises(InputError, match="write the path in full"):
        whole_path("~nobody-of-this-name/x")
    run(short(), dataset=tiny_log(), env=ENV, out="~/a", stages="offline", quiet=True)
    policy = load_policy("~/a")
    assert evaluate_policy(policy, ENV, episodes=1, seed=2**63 - 1).lengths == [20]


@pytest.mark.parametrize("flag", ["--out {}", "--out={}"])
def test_flags_take_a_path_from_home(flag, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    options = make_dataclass("Options", [("out", Path)], frozen=True)
    assert parse(options, flag.format("~/x").split(), "run").out == tmp_path / "x"
    assert parse(options, flag.format("a~b").split(), "run").out == Path("a~b")


# --- Systems and notebooks ---


def test_a_system_without_posix_has_hardware_too(monkeypatch):
    for name in ("sysconf", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    found = summary.hardware()
    assert found["memory_gib"] is None and found["cores"] == os.cpu_count()
    monkeypatch.setattr(summary, "_PACKAGES", ("jax", "not-installed-here"))
    assert summary.versions()["not-installed-here"] == "unknown"


def test_a_system_without_locks_has_folders_too(tmp_path):
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from pathlib import Path; from moore.files import locked\n"
        f"with locked(Path({str(tmp_path)!r})): print('locked')"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "locked\n"


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "module://plain_here", "nonsense"]
)
def test_a_notebooks_backend_is_neither_needed_nor_lost(backend, tmp_path):
    """MPLBACKEND, which Jupyter gives to all that is started from it."""
    code = (
        "from moore.reports.plot_style import figure_svg\n"
        "from moore.reports.plots import share_curve\n"
        "import os, matplotlib\n"
        "assert figure_svg(share_curve([])).startswith('<svg')\n"
        "print(os.environ['MPLBACKEND'], matplotlib.rcParams._get('backend'))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MPLBACKEND": backend},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert told[0] == backend
    if backend == "module://plain_here":
        assert told[1] == backend, "matplotlib has what it would have had"
