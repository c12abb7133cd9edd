"""Calls of a session from several threads, from a forked process, and as an object to be copied."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest

import moore
from controlled import control, sessions
from moore.errors import InputError


@pytest.fixture
def begin(quick_run, log_file, tmp_path):
    with sessions(quick_run, log_file, tmp_path) as begin:
        yield begin


def together(*functions):
    """Runs each in a thread of its own; the errors that they raised."""
    errors = []

    def caught(function):
        try:
            function()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=caught, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_that_act_at_once_write_a_log_that_can_be_read(begin):
    session = begin()
    units = [lambda unit=unit: control(session, 60, unit=unit) for unit in range(3)]
    assert together(*units) == []
    session.close()
    assert moore.load_dataset(session.log).size == 180


def test_an_action_waits_for_learning_in_another_thread(begin):
    session = begin()
    control(session, 20)
    assert together(lambda: session.learn(updates=40), lambda: control(session, 60)) == []
    assert session.status.steps == 80 and session.learner.alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:os.fork.*:RuntimeWarning")
def test_a_forked_process_is_refused_and_leaves_the_session_alone(begin):
    session = begin()
    control(session, 2)
    if (child := os.fork()) == 0:
        try:
            session.close()
            session.act(np.float32([0.5]))
        except InputError as error:
            os._exit(0 if "belongs to process" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    control(session, 2, first=2)
    session.close()
    assert moore.load_dataset(session.log).size == 4


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_copied_by_saving_alone(begin, copied):
    with pytest.raises(InputError, match=r"copy it by save\(path\)"):
        copied(begin())
