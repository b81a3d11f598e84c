"""Signals that ask a run to stop, what they say, and the status that it leaves with."""

import os
import signal
import threading

import pytest

from wav2vec2 import cli
from wav2vec2.cli import program
from wav2vec2.errors import Stopped
from wav2vec2.train.interrupt import StopRequest, stop_signals


def test_sigterm_and_ctrl_c_ask_to_stop_and_a_second_sigterm_does_no_more() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as request:
        assert request == StopRequest("", by_signal=False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert request == StopRequest("SIGTERM", by_signal=True)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_leaves_at_once_and_the_first_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_signals() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.reason == "Ctrl-C"
        assert capfd.readouterr().err == "Ctrl-C: stopping after this update; Ctrl-C again leaves now\n"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_leaves_the_signals_alone() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def run() -> None:
        with stop_signals() as request:
            found.append((request.reason, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [("", before)]


def test_an_option_that_stops_the_run_does_not_make_the_first_ctrl_c_a_second_one() -> None:
    with stop_signals(speak=False) as request:
        request.reason = "train.max_minutes = 1"
        os.kill(os.getpid(), signal.SIGINT)
        assert request.reason == "Ctrl-C"


def test_other_processes_of_a_run_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with stop_signals(speak=False):
        os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err == ""


def test_a_stopped_run_leaves_with_a_status_that_no_failure_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(reason: str) -> None:
        raise Stopped(reason)

    # EX_TEMPFAIL of sysexits.h, "the user is invited to retry"; 128 + SIGINT as in a shell
    assert os.EX_TEMPFAIL == 75
    for reason, status in (("SIGTERM", 75), ("another process was asked to stop", 75), ("Ctrl-C", 130)):
        monkeypatch.setattr(program, "_dispatch", lambda _, reason=reason: stopped(reason))
        assert cli.main([]) == status
