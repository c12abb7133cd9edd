"""Runs in lock step: which calls are answered together, and what a company never does."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.lockstep.company import Company
from moore.lockstep.program import Program, program, reached, shared

WAIT = 60.0  # seconds after which a test calls it a deadlock


def doubling(traces: list | None = None, **options) -> Program:
    """x -> 2 x + shift; `traces` notes the shape of x each time that it is compiled."""

    @program(static_argnames=("shift",), **options)
    def double(x, shift=0.0):
        if traces is not None:
            traces.append(x.shape)
        return 2.0 * x + shift

    return double


def go(company: Company, *tasks, names: str = "abcdefgh"):
    """Runs the tasks in lock step; what each has raised, by name."""
    ended = {}

    def of_company():
        named = dict(zip(names, tasks, strict=False))
        company.run(named, lambda name, error: ended.update({name: error}))

    thread = threading.Thread(target=of_company, daemon=True)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive(), "a deadlock"
    return ended


def test_without_a_company_a_program_is_what_jit_makes():
    traces = []
    double = doubling(traces)
    assert double(jnp.asarray(3.0), shift=1.0) == 7.0
    assert double(jnp.asarray(4.0), shift=1.0) == 9.0
    assert traces == [()]
    assert double.__name__ == "double"


def test_equal_calls_of_all_runs_are_one_program():
    traces, results = [], {}
    double = doubling(traces)

    def task(i):
        def run():
            x = jnp.full(3, float(i))
            for _ in range(4):
                x = double(x, shift=1.0)
            results[i] = x

        return run

    assert go(Company(stacked=True), *map(task, range(5))) == dict.fromkeys("abcde")
    assert traces == [(3,)], "it was compiled once, for one run and mapped over all"
    for i in range(5):
        np.testing.assert_array_equal(results[i], np.full(3, 16.0 * i + 15.0))


def test_where_calls_are_not_stacked_runs_take_turns_at_the_program_of_a_single_run():
    traces, order = [], []
    double = doubling(traces)

    def task(i):
        def run():
            for turn in range(3):
                reached(0, turn)
                double(jnp.asarray(float(i)))
                order.append((turn, i))

        return run

    go(Company(stacked=False), *map(task, range(3)))
    assert traces == [()]
    assert order == [(turn, i) for turn in range(3) for i in range(3)], "side by side"


def test_never_do_two_runs_go_on_at_a_time():
    double, inside, most = doubling(), [], []

    def run():
        for _ in range(20):
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            double(jnp.asarray(1.0))

    go(Company(stacked=True), run, run, run)
    assert set(most) == {1}


@pytest.mark.parametrize("stacked", [True, False])
def test_a_run_that_fails_or_ends_leaves_the_others_alone(stacked):
    double, results = doubling(), {}

    def fails():
        double(jnp.asarray(1.0))
        raise ValueError("broken")

    def ends():
        results["ends"] = double(jnp.asarray(2.0))

    def goes_on():
        x = jnp.asarray(3.0)
        for _ in range(5):
            x = double(x)
        results["goes on"] = x

    ended = go(Company(stacked=stacked), fails, ends, goes_on)
    assert str(ended.pop("a")) == "broken"
    assert ended == {"b": None, "c": None}
    assert results == {"ends": 4.0, "goes on": 96.0}


def test_two_runs_at_different_programs_both_go_on():
    double, results = doubling(), []

    @program()
    def halve(x):
        return 0.5 * x

    def run(first, second):
        return lambda: results.append(float(second(first(jnp.asarray(3.0)))))

    assert go(Company(stacked=True), run(double, halve), run(halve, double)) == {
        "a": None,
        "b": None,
    }
    assert results == [3.0, 3.0]


def test_runs_that_have_converged_wait_for_those_that_have_not():
    """Each fits for another number of passes; what follows the fits is answered together."""
    train, widths = doubling(repeats=True), []

    @program()
    def imagine(x):
        return jnp.sum(x)

    company = Company(stacked=True)
    answer = company._stacked.answer
    company._stacked.answer = lambda calls, most: (
        widths.append((calls[0].program.__name__, len(calls))) or answer(calls, most)
    )

    def task(passes):
        def run():
            x = jnp.ones(2)
            for _ in range(passes):
                x = train(x)
            imagine(x)

        return run

    go(company, task(1), task(3), task(2))
    assert widths == [("double", 3), ("double", 2), ("double", 1), ("imagine", 3)]


def test_a_run_that_is_behind_catches_up_before_the_others_go_on():
    double, order = doubling(), []

    def task(name, begin):
        def run():
            for epoch in range(begin, 4):
                reached(1, epoch)
                double(jnp.asarray(1.0))
                order.append(name + str(epoch))

        return run

    go(Company(stacked=True), task("a", 2), task("b", 0))
    assert order == ["b0", "b1", "a2", "b2", "a3", "b3"]


def test_few_programs_are_compiled_whatever_the_sizes_of_the_groups():
    """Five runs begin, and one after another ends: all groups take the program of five."""
    traces, results = [], {}
    double = doubling(traces)

    def task(i):
        def run():
            x = jnp.asarray(float(i))
            for _ in range(i + 1):
                x = double(x)
            results[i] = float(x)

        return run

    go(Company(stacked=True), *map(task, range(5)))
    assert results == {i: i * 2.0 ** (i + 1) for i in range(5)}
    assert len(traces) == 2, "of five together, and of the last one, which is left alone"


def test_unequal_sizes_and_settings_run_apart_and_that_is_said_once():
    double, said, results = doubling(), [], {}

    def task(name, x, shift):
        def run():
            for _ in range(3):
                results[name] = double(jnp.asarray(x), shift=shift)

        return run

    go(
        Company(stacked=True, say=said.append),
        task("a", [1.0], 0.0), task("b", [1.0, 2.0], 0.0), task("c", [1.0], 0.0),
        task("d", [1.0], 5.0),
    )  # fmt: skip
    assert {name: x.tolist() for name, x in results.items()} == {
        "a": [2.0], "b": [2.0, 4.0], "c": [2.0], "d": [7.0],
    }  # fmt: skip
    assert said == [
        f"{name} is not run together with the others: its double has other settings or sizes"
        for name in "bd"
    ]


def test_numbers_that_differ_between_runs_share_a_program():
    """As the coefficient of a penalty does, or alpha's share of the draws."""
    results = {}

    @program()
    def weigh(x, weight):
        return x * weight

    def task(i):
        return lambda: results.update({i: float(weigh(jnp.asarray(2.0), 0.5 * i))})

    company = Company(stacked=True)
    go(company, *map(task, range(4)))
    assert results == {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0}
    assert len(company._stacked._programs) == 1


def test_what_is_donated_and_keys_of_random_numbers_can_be_stacked():
    drawn = {}

    @program(donate_argnames=("state",))
    def draw(state, key):
        return state + jax.random.uniform(key, (2,)), key

    def task(i):
        def run():
            state, _ = draw(jnp.zeros(2), jax.random.key(i))
            drawn[i] = np.asarray(state)

        return run

    go(Company(stacked=True), *map(task, range(3)))
    for i in range(3):
        expected = jax.random.uniform(jax.random.key(i), (2,))
        np.testing.assert_array_equal(drawn[i], expected)


def test_a_log_that_all_runs_have_is_held_once_and_not_stacked():
    held, shapes, results = [], [], []

    @program()
    def look(log, row):
        shapes.append(log.shape)
        return log[row]

    def task(i):
        def run():
            log = shared(jnp.arange(2.0**15))
            held.append(log)
            results.append(float(look(log, jnp.asarray(i))))

        return run

    company = Company(stacked=True)
    go(company, *map(task, range(3)))
    assert held[0] is held[1] is held[2]
    assert results == [0.0, 1.0, 2.0]
    ((_, one),) = company._stacked._programs
    assert one == (True, False)
    alone = jnp.arange(2.0**15)
    assert shared(alone) is alone, "without a company"


def test_a_program_that_is_called_while_shapes_are_traced_is_part_of_the_trace():
    double, found = doubling(), []

    def run():
        found.append(jax.eval_shape(double, jnp.ones(3)).shape)

    assert go(Company(stacked=True), run, run) == {"a": None, "b": None}
    assert found == [(3,), (3,)]


def test_where_the_mapped_program_fails_each_run_is_tried_alone():
    said, results = [], []

    @program()
    def only_alone(x):
        if "Batch" in type(x).__name__:
            raise TypeError("no leading axis, please")
        return x + 1.0

    def run():
        for _ in range(2):
            results.append(float(only_alone(jnp.asarray(1.0))))

    assert go(Company(stacked=True, say=said.append), run, run) == {"a": None, "b": None}
    assert results == [2.0] * 4
    (line,) = said
    assert line.startswith("only_alone is not run together: TypeError")


def test_an_error_of_a_program_is_the_error_of_the_run_that_called_it():
    @program()
    def fails(x):
        raise ValueError("no")

    double, results = doubling(), []

    def other():
        results.append(float(double(jnp.asarray(1.0))))

    ended = go(Company(stacked=False), lambda: fails(jnp.asarray(1.0)), other)
    assert isinstance(ended["a"], ValueError) and ended["b"] is None
    assert results == [2.0]


def test_a_company_that_is_left_lets_its_runs_end():
    double, cleaned = doubling(), threading.Event()

    def run():
        try:
            while True:
                double(jnp.asarray(1.0))
        finally:
            cleaned.set()

    def stops(name, error):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Company(stacked=True).run({"a": run, "b": lambda: None}, stops)
    assert cleaned.wait(WAIT)
