"""Time on air with preamble, header and code blocks: the same wherever it is stated."""

import argparse
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.commands import link_budget
from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.seals import CHECKSUM
from gsc_ros.link.radio import budget, profiles, schedule, units
from gsc_ros.link.radio.airtime import PLAIN, OnAir, lora, lora_rate_bps
from gsc_ros.link.traffic.channel import Channel
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.frame_scheduler import LinkCapacity
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.sender import Sender

LORA = profiles.load('lora_915_fhss')


def datagram_ms(size, spreading_factor, bandwidth_hz, coding_rate=0.8, preamble=8):
    settings = spreading_factor, bandwidth_hz, coding_rate
    return 1e3 * lora(*settings, preamble).bits(size) / lora_rate_bps(*settings)


@pytest.mark.parametrize(
    ('size', 'spreading_factor', 'bandwidth_hz', 'coding_rate', 'ms'),
    [
        (20, 7, 250e3, 0.8, 28.288),
        # Semtech's formula as others worked it out: a spreadsheet after AN1200.13, and the air
        # times that The Things Network prints for LoRaWAN's packets.
        (13, 9, 125e3, 0.8, 164.864),
        (51, 7, 125e3, 0.8, 102.656),
        (13, 12, 125e3, 0.8, 1155.072),  # where symbols are so long that they carry two bits less
        (51, 12, 125e3, 0.8, 2465.792),
        # By hand: 0.512 ms (12.25 + 8 + 2 x 8), and for SF6 0.256 ms (14.25 + 8 + 3 x 5).
        (3, 7, 250e3, 0.5, 18.56),
        (6, 6, 250e3, 0.8, 9.536),
    ],
)
def test_datagrams_of_lora_take_the_time_of_semtechs_formula(
    size, spreading_factor, bandwidth_hz, coding_rate, ms
):
    took = datagram_ms(size, spreading_factor, bandwidth_hz, coding_rate)
    assert took == pytest.approx(ms, abs=1e-3)


def test_a_longer_preamble_takes_its_symbols():
    longer = datagram_ms(20, 7, 250e3, preamble=12) - datagram_ms(20, 7, 250e3)
    assert longer == pytest.approx(4 * 0.512)


@given(
    spreading_factor=st.integers(5, 12),
    bandwidth_hz=st.sampled_from([62.5e3, 125e3, 250e3, 500e3]),
    coding_rate=st.sampled_from([4 / 5, 4 / 6, 4 / 7, 4 / 8]),
)
def test_the_straight_line_touches_from_above(spreading_factor, bandwidth_hz, coding_rate):
    on_air = lora(spreading_factor, bandwidth_hz, coding_rate, 8)
    over = [on_air.fixed_bits + 8 * size - on_air.bits(size) for size in range(1, 256)]
    assert min(over) == pytest.approx(0, abs=1e-9)
    assert max(over) < on_air.block_bits


def test_a_plain_radio_takes_the_bits():
    assert [PLAIN.bits(size) for size in (0, 1, 1115)] == [0, 8, 8920]
    assert PLAIN.fixed_bits == 0


def end(on_air=LORA.on_air, gap_s=LORA.packet_gap):
    return End(schedule.of(LORA), int(LORA.mtu), gap_s=gap_s, on_air=on_air)


def channel():
    link = budget.compute(LORA)
    return Channel(link.rate_bps, mtu=int(LORA.mtu), gap_s=LORA.packet_gap, on_air=LORA.on_air)


def printed(*arguments):
    parser = argparse.ArgumentParser()
    link_budget.add_parser(parser.add_subparsers())
    return link_budget._report(parser.parse_args(['link-budget', 'lora_915_fhss', *arguments]))


@pytest.mark.parametrize('size', [20, 100, 203, 400, 1000])
def test_all_state_the_same_time(size):
    """Budget, channel, end, command and what leaves the radio; the pacing within a block."""
    payload = size - CHECKSUM.overhead if size <= 203 else size
    room = 203 - CHECKSUM.overhead
    sizes = [room] * (payload // room) + [payload % room] * (payload % room > 0)
    link = budget.compute(LORA)
    took = sum(datagram_ms(n + CHECKSUM.overhead, 7, 250e3) / 1e3 + LORA.packet_gap for n in sizes)
    if size == 20:
        assert took - LORA.packet_gap == pytest.approx(0.0283, abs=1e-4)
    assert sum(link.datagram_s(n + CHECKSUM.overhead) + LORA.packet_gap for n in sizes) == (
        pytest.approx(took)
    )
    assert channel().frame_s(payload) == pytest.approx(took)
    assert end().frame_s(payload) == pytest.approx(took)
    if payload > FRAME_OVERHEAD:
        text = printed('--frame', str(payload - FRAME_OVERHEAD))
        value, unit = re.search(r'B: ([\d.]+) (\w+) on air', text).groups()
        assert float(value) / (1e3 if unit == 'ms' else 1) == pytest.approx(
            took - LORA.packet_gap, rel=1e-3
        )
        sender = channel().sender
        capacity = LinkCapacity(
            sender.rate_bps, sender.mtu, sender.seal.overhead, sender.pacer.fixed_s, 0.0
        )
        block_s = LORA.on_air.block_bits / link.rate_bps
        assert capacity.frame_s(payload - FRAME_OVERHEAD) == pytest.approx(took, abs=block_s)
    # On air.
    sender = channel().sender
    sender.offer(bytes(payload), 0.0, TrafficClass.FRAME)
    left = [at for at, _, _ in sender.advance(took)]
    assert left[-1] == pytest.approx(took - LORA.packet_gap)
    assert sender.pacer.free_at == pytest.approx(took) == sender.sent_s


def test_all_state_the_same_rate():
    link = budget.compute(LORA)
    carried = 8 * 203 / (datagram_ms(203, 7, 250e3) / 1e3 + 0.12)
    assert link.carried_bps == pytest.approx(carried)
    assert channel().rate_bps == pytest.approx(carried)
    assert end().sender.rate_at(0.0)[0] == pytest.approx(carried)
    assert re.search(rf'rate of full datagrams +{carried / 1e3:.2f} kbps', printed())
    assert re.search(r'a full datagram +161\.4\d? ms', printed())
    assert re.search(rf'lora_915_fhss +{units.show(carried, "rate")}', link_budget._table())
    # An operator's own rate is what may go out.
    own = Sender(Pacer(1000.0), 203)
    assert own.rate_bps == pytest.approx(1000.0)


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 600), min_size=1, max_size=8),
    loss=st.sampled_from([0.0, 0.2]),
    block=st.sampled_from([1, 28, 40]),
)
def test_no_two_datagrams_are_on_air_at_once(sizes, loss, block):
    on_air = OnAir(100.0, 16, block)
    sender = Sender(Pacer(5000.0, 0.1, on_air), 203)
    sender.set_fec(loss)
    free, sent_s = 0.0, 0.0
    for number, size in enumerate(sizes):
        sender.offer(bytes(size), 0.2 * number, TrafficClass.FRAME)
        for left, _, data in sender.advance(0.2 * (number + 1)):
            took = on_air.bits(len(data)) / 5000.0
            assert left - took >= free - 1e-9
            free, sent_s = left + 0.1, sent_s + took + 0.1
    assert sender.sent_s == pytest.approx(sent_s)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('lora_coding_rate', 0.7, 'lora_coding_rate is 4/5'),
        ('lora_spreading_factor', 7.5, 'whole number'),
        ('mtu', 300, 'mtu of LoRa'),
        ('lora_preamble', 2, 'lora_preamble'),
    ],
)
def test_settings_that_no_lora_modem_has_are_refused(field, value, message):
    with pytest.raises(ValueError, match=f'lora_915_fhss.*{message}'):
        replace(LORA, **{field: value})
