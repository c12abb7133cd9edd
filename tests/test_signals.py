"""Signals are noted, never lost, and obeyed where nothing is lost by it."""

import gc
import os
import signal
import threading
import time

import pytest

from moore import cli
from moore.cli import main
from moore.runs.signals import Stop, Stopped, listening

MAIN = threading.current_thread() is threading.main_thread()
pytestmark = pytest.mark.skipif(not MAIN, reason="signals are the main thread's")


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python calls the handler between two of its own steps


class TestListening:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_is_noted_in_patience_and_raises_where_it_is_looked_for(self, number):
        with listening() as stop:
            with stop.patience():
                send(number)
                assert stop.asked
                with pytest.raises(Stopped) as found:
                    stop.check()
            assert found.value.in_order and found.value.status == 128 + number

    def test_without_patience_it_stops_at_once(self):
        with pytest.raises(Stopped) as found, listening():
            send(signal.SIGTERM)
        assert not found.value.in_order

    def test_a_second_one_stops_at_once_but_the_same_wish_sent_twice_does_not(self):
        with pytest.raises(Stopped), listening() as stop, stop.patience():
            send(signal.SIGINT)
            send(signal.SIGINT)
            assert stop.asked, "passed on by a program between"
            time.sleep(0.25)
            send(signal.SIGINT)
            pytest.fail("not stopped")

    def test_one_that_is_lost_in_a_callback_of_the_garbage_collector_is_asked_for_again(self):
        def interrupted(phase, info):
            gc.callbacks.remove(interrupted)
            send(signal.SIGINT)

        with pytest.raises(Stopped), listening():
            gc.callbacks.append(interrupted)
            gc.collect(0)  # the callback is the same, and there is less to look at
            end = time.monotonic() + 5
            while time.monotonic() < end:
                time.sleep(0.01)

    def test_handlers_of_the_program_and_ignored_signals_are_left_alone(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        try:
            with listening():
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
                assert isinstance(signal.getsignal(signal.SIGTERM), Stop)
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        finally:
            signal.signal(signal.SIGHUP, before)

    @pytest.mark.parametrize("taken", [signal.SIG_IGN, signal.SIG_DFL, signal.default_int_handler])
    def test_what_an_environment_does_to_them_meanwhile_is_undone(self, taken):
        """A library that it loads may ignore Ctrl-C, or let it end the program at once."""
        with listening() as stop, stop.patience():
            signal.signal(signal.SIGINT, taken)
            stop.check()
            send(signal.SIGINT)
            assert stop.asked
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_but_a_function_of_its_own_is_left_and_named(self):
        heard = []
        with listening() as stop, stop.patience():
            assert stop.lost() == []
            signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
            assert stop.lost() == ["SIGTERM"]
            send(signal.SIGTERM)
            stop.check()
        assert heard == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def test_in_another_thread_signals_are_left_alone(self):
        found = []

        def elsewhere():
            with listening():
                found.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert found == [signal.SIG_DFL]

    def test_the_command_line_ends_with_the_signals_status(self, monkeypatch, capsys):
        monkeypatch.setitem(cli.COMMANDS, "preview", lambda _: send(signal.SIGTERM))
        with pytest.raises(SystemExit) as stop:
            main(["preview"])
        assert stop.value.code == 143
        assert capsys.readouterr().err == "moore: interrupted.\n"
