"""Waits that stop a robot: an alarm and a lock that no wall clock prolongs."""

import threading
import time

import pytest

from gsc_ros.ros.monotonic import Alarm, locked


def test_an_alarm_wakes_at_its_time():
    begun = time.monotonic()
    Alarm().wait(0.1)
    assert 0.1 <= time.monotonic() - begun < 2.0


@pytest.mark.parametrize('seconds', [None, 30.0, 1e9])
def test_an_alarm_wakes_when_it_is_set_and_once(seconds):
    alarm = Alarm()
    threading.Timer(0.1, alarm.set).start()
    begun = time.monotonic()
    alarm.wait(seconds)
    assert 0.05 < time.monotonic() - begun < 10.0
    for _ in range(100_000):  # more than a socket holds
        alarm.set()
    waits = 0
    begun = time.monotonic()
    while time.monotonic() < begun + 0.2:
        alarm.wait(0.3)
        waits += 1
    assert waits < 1000


def test_a_time_that_is_over_is_no_wait():
    begun = time.monotonic()
    Alarm().wait(-5.0)
    assert time.monotonic() - begun < 1.0


def test_a_lock_that_somebody_keeps_is_gone_without():
    lock = threading.Lock()
    with locked(lock, 0.05):
        begun = time.monotonic()
        with locked(lock, 0.05):
            assert time.monotonic() - begun >= 0.05
        assert lock.locked()
    assert not lock.locked()
