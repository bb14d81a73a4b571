"""Telemetry: what a payload holds, and how little of the air it takes."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import PayloadError
from gsc_ros.link.datagrams.telemetry import Battery, Mount, Telemetry, check_of, pack_names
from gsc_ros.link.traffic.channel import Channel
from gsc_ros.link.traffic.reports import pause_s
from gsc_ros.link.traffic.telemetry_timer import IDLE_PAUSES, SELDOM, TelemetryTimer

MOUNT = Mount('base_link', 'camera_optical_frame', (0.5, -0.25, 1.5), (-0.5, 0.5, -0.5, 0.5))
NAMES = ('pan', 'tilt')
BATTERY = Battery(0.5, 25.2, -3.5, 31.0, 2, 1)
FULL = Telemetry(MOUNT, BATTERY, 'AUTO', NAMES, (0.5, -1.25), check_of(NAMES))


def same(a, b, step):
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= step


@given(
    st.one_of(st.just(math.nan), st.floats(0, 1)),
    st.one_of(st.just(math.nan), st.floats(0, 1300)),
    st.one_of(st.just(math.nan), st.floats(-1600, 1600)),
    st.one_of(st.just(math.nan), st.floats(-120, 120)),
    st.integers(0, 15),
    st.integers(0, 15),
)
def test_a_battery_comes_back_within_its_steps(charge, voltage, current, celsius, status, health):
    battery = Battery(charge, voltage, current, celsius, status, health)
    found = Telemetry.unpack(Telemetry(battery=battery).pack()).battery
    assert same(found.charge, charge, 0.5 / 254 + 1e-9)
    assert same(found.voltage, voltage, 0.0101)
    assert same(found.current, current, 0.0251)
    assert same(found.temperature, celsius, 0.501)
    assert (found.status, found.health) == (status, health)


def test_all_of_it_comes_back():
    assert Telemetry.unpack(FULL.pack()) == Telemetry(
        MOUNT, Telemetry.unpack(FULL.pack()).battery, 'AUTO', NAMES, (0.5, -1.25), check_of(NAMES)
    )
    assert len(FULL.frequent.pack()) <= 24
    assert Telemetry.unpack(b'').empty
    assert Telemetry().pack() == b''


def test_numbers_out_of_range_are_the_next_that_can_be_sent():
    found = Telemetry.unpack(Telemetry(battery=Battery(2.0, 1e9, -1e9, math.inf, 99)).pack())
    assert found.battery.charge == 1
    assert found.battery.current == pytest.approx(-1638.35)
    assert found.battery.temperature == 127
    assert found.battery.status == 15
    joints = Telemetry(positions=(math.nan, 99.0, -99.0))
    x, y, z = Telemetry.unpack(joints.pack()).positions
    assert math.isnan(x)
    assert (y, z) == (32.767, -32.767)


def test_text_is_cut_between_two_characters():
    assert Telemetry.unpack(Telemetry(mode='é' * 40).pack()).mode == 'é' * 16


def test_names_that_are_too_long_are_refused():
    with pytest.raises(ValueError, match='32 at most'):
        pack_names(('x',) * 33)
    many = '\n'.join('x' * 33).encode()
    with pytest.raises(PayloadError, match='32 at most'):  # of a robot that is not ours
        Telemetry.unpack(bytes([4, len(many)]) + many)
    with pytest.raises(ValueError, match='too long'):
        Mount('b' * 200, 'c' * 100, (0, 0, 0), (0, 0, 0, 1)).pack()


@given(st.binary(max_size=80))
def test_any_bytes_are_telemetry_or_refused(data):
    try:
        Telemetry.unpack(data)
    except PayloadError as error:
        assert 'telemetry' in str(error)


def test_items_that_are_not_known_are_left_out():
    found = Telemetry.unpack(bytes([99, 3, 1, 2, 3]) + Telemetry(mode='AUTO').pack())
    assert found == Telemetry(mode='AUTO')
    for bad in (b'\x03\x05AB', b'\x03', b'\x03\x01A\x03\x01A', b'\x02\x01A', b'\x01\x02AB'):
        with pytest.raises(PayloadError):
            Telemetry.unpack(bad)


def run(timer, states, pause=1.0, step=0.1):
    """Return when something went and what, for states by the time from which they hold."""
    sent, state, last = [], Telemetry(), 0.0
    for i in range(2000):
        now = i * step
        state = next((s for at, s in reversed(states) if now >= at), state)
        at = timer.next_at(state, pause if sent else 0.0)
        if at is not None and now >= at - 1e-9:
            sent.append((now, timer.next(now, state)))
            last = now
    assert last
    return sent


def test_what_seldom_changes_goes_on_change_and_now_and_then():
    moving = [(i / 2, Telemetry(mount=MOUNT, positions=(i / 100,))) for i in range(400)]
    sent = run(TelemetryTimer(), moving)
    gaps = [b - a for (a, _), (b, _) in pairwise(sent)]
    assert min(gaps) >= 1.0 - 1e-9
    with_mount = [i for i, (_, one) in enumerate(sent) if one.mount is not None]
    assert with_mount[:3] == [0, 1, 2]
    assert with_mount[3] == 2 + SELDOM
    assert all(one.positions is not None for _, one in sent)


def test_what_does_not_change_goes_seldom():
    sent = run(TelemetryTimer(), [(0.0, Telemetry(battery=BATTERY))])
    assert 200 / IDLE_PAUSES - 4 <= len(sent) <= 200 / IDLE_PAUSES + 4
    assert TelemetryTimer().next_at(Telemetry(names=NAMES), 0.0) is None  # nothing to state


def test_telemetry_takes_a_twentieth_of_a_busy_link_and_is_not_starved():
    down, up = Channel(2000.0, 0.1, 200), Channel(2000.0, 0.1, 200)
    timer, pause, at, sent = TelemetryTimer(), 0.0, 0.0, []
    received = []
    for i in range(3000):
        now = i * 0.1
        if i % 5 == 0:
            down.offer(bytes(300), now, TrafficClass.FRAME)
        state = Telemetry(mount=MOUNT, battery=BATTERY, positions=(i / 1000,))
        at = timer.next_at(state, pause)
        if at is not None and now >= at:
            payload = timer.next(now, state).pack()
            down.offer(payload, now, TrafficClass.TELEMETRY)
            pause = max(1.0, pause_s(down, up, len(payload)))
            sent.append(len(payload))
        received += down.poll(now)
    came = [r for r in received if r.traffic_class is TrafficClass.TELEMETRY]
    assert len(came) >= len(sent) - 1
    air = sum(down.sender.air_s(len(r.payload), TrafficClass.TELEMETRY) for r in came)
    assert air <= 300 / 20 * 1.1
    # Frames fill what is left.
    assert down.sender.sent_s > 0.98 * 300
