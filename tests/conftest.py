"""Compiled programs are shared by the tests, and by the processes that they start.

The command line's tests share a desk: a folder with a log and a configuration, and two ways to run
a command there.

Property tests draw the same examples every time, so that a suite that passed passes again;
`pytest --hypothesis-profile=search` draws new ones.
"""

import atexit
import gc
import os
import re
import shlex
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

import cheap_xla
import pages
import strict_jax
import type_checks
from desk import TINY, files, write_hdf5

# Set before jax is imported, and inherited by child processes.
_CACHE = os.path.join(tempfile.gettempdir(), f"moore-tests-{os.getuid()}-xla")
_SETTINGS = {
    "JAX_COMPILATION_CACHE_DIR": _CACHE,
    # Also the smallest programs: an operation outside `jit` is one, and there are thousands.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    # Most programs run for less time than it takes to make them fast; see the marker `optimised`.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    # Where in the sources an operation stands is written into every program, and takes long.
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = cheap_xla.flags()
# Bytecode is kept, whatever Python is told: without it every worker compiles the package and all
# tests anew, and every program that a test starts the package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Imports and tracing make very many objects, of which few are garbage in a cycle; at Python's own
# thresholds they are looked at too often.
gc.set_threshold(200_000, 50, 100)

type_checks.use()  # before the package is imported

# Files that need the same run go to one worker, which trains it once and compiles it once.
_TINY_RUN = (
    "test_resume.py", "test_end_to_end.py", "test_diagnostics.py", "test_handover_runs.py",
    "test_paper.py", "test_online_settings.py", "test_compilations.py", "test_priorities.py",
    "test_assess_command.py", "test_metric_names.py", "test_planning.py", "test_all_options.py",
)  # fmt: skip
_QUICK_RUN = (
    "test_stops.py", "test_live_system.py", "test_disk.py", "test_damage.py", "test_hand_over.py",
    "test_session.py", "test_session_folder.py", "test_supervision.py", "test_learner_process.py",
    "test_serving.py", "test_serving_limits.py", "test_serving_http.py", "test_export_command.py",
    "test_bad_readings.py",
)  # fmt: skip
# Files that train runs of these sizes, or prepare their learners, share compiled programs: they go
# to one worker, while another does the rest. A worker without work of its kind helps the other.
_RUNS = (
    *_TINY_RUN, *_QUICK_RUN,
    "test_baselines.py", "test_trials.py", "test_on_policy.py", "test_units_runs.py",
    "test_pessimistic.py", "test_surroundings.py", "test_units.py", "test_report.py",
    "test_scratch.py", "test_sinks.py", "test_imagined_range.py", "test_adaptive_bc_replay.py",
    "test_reading.py", "test_findings.py", "test_together.py",
)  # fmt: skip
# These come first, the longest of them at the front: no worker is left with one at the end. Those
# with the marker `optimised` begin, because all that was compiled before them is dropped.
_FIRST = (
    *_RUNS,
    "test_on_disk.py", "test_td3.py", "test_told_bounds.py", "test_accelerator.py",
    "test_way_back.py", "test_compiled.py", "test_between_episodes.py", "test_report_gaps.py",
    "test_session_likeness.py", "test_two_laws.py",
    "test_balanced.py", "test_terminal_head.py",
    "test_collect.py", "test_reproduce.py", "test_balanced_replay.py", "test_examples.py",
    "test_budget_simulation.py", "test_sweep.py", "test_cql.py", "test_dynamics.py",
    "test_cli_runs.py", "test_iql.py", "test_handover_options.py", "test_policy_comparison.py",
    "test_adaptive_bc.py", "test_theory_survey.py", "test_bc.py", "test_keys.py", "test_fuzz.py",
    "test_number_types.py", "test_cli_logs.py",
    "test_cli.py", "test_sum_tree.py", "test_awac.py", "test_theory_bounds.py", "test_ppo.py",
    "test_cli_process.py", "test_sac.py", "test_formats.py", "test_exporting.py",
    "test_results.py", "test_log_page.py", "test_replay_check.py", "test_benchmarks.py",
    "test_brac.py", "test_config.py", "test_large_logs.py", "test_penalty.py", "test_inspect.py",
    "test_policy.py", "test_write.py", "test_chains.py", "test_budget_line.py",
    "test_weights.py", "test_controllers.py", "test_full_disk.py", "test_plain.py",
    "test_termination.py", "test_bear.py", "test_open_loop.py", "test_replay.py",
)  # fmt: skip

# A job in the background of a shell ignores Ctrl-C, one under nohup a hang-up, and so would the
# runs that the tests stop.
for _number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        _default = signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL
        signal.signal(_number, _default)

settings.register_profile("repeat", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile("repeat")

# A process may have so many of them (Linux). Every compiled program has several, and where there
# are no more, jaxlib dies of a segmentation fault.
_MAPS_LIMIT = Path("/proc/sys/vm/max_map_count")
_MOST_MAPS = int(_MAPS_LIMIT.read_text()) * 2 // 3 if _MAPS_LIMIT.exists() else 40_000


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish():
    """What is there now stays: the garbage collector need not look at it again and again."""
    cheap_xla.one_context_for_many_programs()
    gc.freeze()


def pytest_sessionfinish():
    """What was made is left to the system: to look through it, or to free it, takes seconds."""
    gc.freeze()
    if "jax" in sys.modules:
        from jax._src import api

        atexit.unregister(getattr(api, "clean_up", None))


@pytest.fixture(scope="module", autouse=True)
def a_new_context_for_each_file():
    """A context keeps the constants of all its programs."""
    yield
    cheap_xla.new_context()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One file at a time to each worker, in their order here, of the kind that it had before."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    together = {"the tiny run": _TINY_RUN, "the quick run": _QUICK_RUN}

    def trains(scope):
        return scope in together or Path(scope).name in _RUNS

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            shared = (name for name, files in together.items() if Path(file).name in files)
            return next(shared, file)

        def _assign_work_unit(self, node):
            kinds = {worker: set(map(trains, had)) for worker, had in self.assigned_work.items()}
            own = kinds.pop(node)

            def strangeness(scope):
                kind = trains(scope)
                return bool(own) and kind not in own, sum(kind in had for had in kinds.values())

            self.workqueue.move_to_end(min(self.workqueue, key=strangeness), last=False)
            super()._assign_work_unit(node)

    return ByFile(config, log)


@pytest.fixture(scope="module", autouse=True)
def few_memory_maps():
    """After a file of tests compiled programs are dropped, if the process has very many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MOST_MAPS:
        import jax  # not before the cache's place is set, and not for tests without it

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def optimised_where_marked(request):
    """Files with the marker `optimised` train for long: their programs are worth it."""
    if request.node.get_closest_marker("optimised") is None:
        yield
        return
    import jax

    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.clear_caches()
    low = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] not in ("", "0", "false")
    jax.config.update("jax_disable_most_optimizations", low)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_repeated_or_mixed_unasked():
    """Arrays of different rank or type in one operation are an error, also within a run."""
    strict_jax.use()


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk():
    """What the tests write need not outlive a power cut, and to wait for the disk takes minutes.

    A descriptor that is none is an error all the same. Processes that tests start do wait, and
    tests of what a disk refuses put a function of their own in this place.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", _is_open)
        yield


def _is_open(file) -> None:
    os.fstat(file if isinstance(file, int) else file.fileno())


@pytest.fixture(scope="session", autouse=True)
def few_pictures():
    """The pages of runs are without figures: to draw them takes longer than a run of the tests.

    They are drawn for `tiny_run`, and within `pages.drawn`; laid out only within `pages.laid_out`.
    """
    pages.leave_out_figures()


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """The working folder of a user with a log and a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)
    write_hdf5(tmp_path / "log.hdf5")
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


# The package is imported in the fixtures: before the tests are configured its types go unchecked.


@pytest.fixture(scope="session")
def log_file(tmp_path_factory) -> Path:
    """The log of the tiny task."""
    from moore.formats.npz import write_npz
    from tiny import tiny_log

    path = tmp_path_factory.mktemp("log") / "log.npz"
    write_npz(path, tiny_log())
    return path


@pytest.fixture(scope="session")
def tiny_run(log_file, tmp_path_factory):
    """The tiny run from beginning to end; nobody writes into its folder."""
    from moore.runs.run import run
    from tiny import ENV, tiny_config

    folder = tmp_path_factory.mktemp("tiny") / "run"
    with pages.drawn():
        return run(tiny_config(), dataset=log_file, env=ENV, out=folder, quiet=True)


@pytest.fixture(scope="session")
def tiny_offline(log_file, tmp_path_factory) -> Path:
    """The folder of its offline stage alone."""
    from moore.runs.run import run
    from tiny import ENV, tiny_config

    folder = tmp_path_factory.mktemp("tiny-offline") / "run"
    run(tiny_config(), dataset=log_file, env=ENV, out=folder, stages="offline", quiet=True)
    return folder


@pytest.fixture(scope="session")
def quick_run(log_file, tmp_path_factory) -> Path:
    """The folder of the quick run; nobody writes into it."""
    from moore.runs.run import run
    from tiny import ENV, quick_config

    folder = tmp_path_factory.mktemp("quick") / "run"
    run(quick_config(), dataset=log_file, env=ENV, out=folder, quiet=True)
    return folder


@pytest.fixture
def moore_prints(capsys):
    """Runs a command that works; returns what it printed for the user and for machines."""
    from moore.cli import main

    def run(line: str) -> str:
        capsys.readouterr()
        main(shlex.split(line))
        return capsys.readouterr().out

    return run


@pytest.fixture
def moore_refuses(desk, capsys):
    """Runs a command on bad input: one line on stderr, status 2, nothing lost, nothing left."""
    from moore.cli import main

    def run(line: str, *, untouched: Path = desk) -> str:
        before = files(desk), files(untouched)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(line))
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        assert out == ""
        assert re.fullmatch(r"moore: [^\n]+\n", err), err
        assert (files(desk), files(untouched)) == before
        return err

    return run


@pytest.fixture
def time():
    """The clock of sessions beside the controller that ran before."""
    from beside_old import Time

    return Time()


@pytest.fixture
def begin(quick_run, log_file, tmp_path, time):
    """Begins sessions beside that controller, and closes them in the end."""
    from beside_old import sessions_beside

    with sessions_beside(quick_run, log_file, tmp_path, time) as begin:
        yield begin


@pytest.fixture(scope="module")
def budget_run(log_file, tmp_path_factory):
    """A run with a loss budget, after its offline stage."""
    from beside_old import run_with_budget

    return run_with_budget(log_file, tmp_path_factory.mktemp("budget") / "run")


@pytest.fixture(scope="module")
def begin_served(quick_run, log_file, tmp_path_factory):
    """Begins sessions that are to be served, and closes them in the end."""
    from served import sessions

    with sessions(quick_run, log_file, tmp_path_factory) as begin:
        yield begin


@pytest.fixture(scope="module")
def shared_session(begin_served):
    """One for tests that bear the steps of others."""
    return begin_served()


@pytest.fixture
def served(shared_session):
    """Serves the shared session, or the one that is given, without sockets."""
    from served import Served

    made = []

    def served(session=shared_session, **how):
        made.append(Served(session, **how))
        return made[-1]

    yield served
    for one in made:
        one.loop.close()
