"""Error rates: the published thresholds, and what a channel makes of them."""

import math

import pytest
from test_link_channel import frame, run, stream

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.radio import budget, codes, profiles, schedule
from gsc_ros.link.radio.codes import CODES
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.channel import Channel


@pytest.mark.parametrize(
    ('name', 'ebn0_db', 'within_db'),
    [
        # As handbooks quote CCSDS 130.1-G, at 1e-5 or 1e-6.
        ('uncoded', 9.6, 0.1),
        ('fsk', 13.35, 0.1),
        ('conv_7_1_2', 4.2, 0.2),
        ('rs_255_223_conv', 2.5, 0.4),
        # The bound for the block length; real codes are a few tenths of a dB from it.
        ('turbo_1_2', 1.0, 0.9),
        ('turbo_1_6', -0.1, 0.9),
        ('ldpc_1_2_1024', 1.8, 1.1),
        ('lora_sf7', -7.5, 1.0),
    ],
)
def test_curves_stand_where_handbooks_have_them(name, ebn0_db, within_db):
    assert codes._threshold_db(CODES[name]) == pytest.approx(ebn0_db, abs=within_db)


@pytest.mark.parametrize('name', CODES)
def test_errors_fall_with_the_signal(name):
    code = CODES[name]
    rates = [code.bits_wrong(x / 4) for x in range(-40, 20)]
    assert rates == sorted(rates, reverse=True)
    assert 0 <= rates[-1] < 1e-5 < rates[0] <= 0.5
    assert code.bits_wrong(0.0) == pytest.approx(1e-5, rel=0.01)
    hits = [code.datagrams_hit(x / 4, 128) for x in range(-40, 20)]
    assert hits == sorted(hits, reverse=True) and 0 <= hits[-1] <= hits[0] <= 1
    assert code.datagrams_hit(-1.0, 1000) >= code.datagrams_hit(-1.0, 10)
    assert code.datagrams_hit(math.inf, 128) == code.bits_wrong(math.inf) == 0.0
    assert code.datagrams_hit(-math.inf, 128) <= 1.0


def noisy(code, excess_db, seed=1, **more):
    times = Schedule([(None, 1e6, 0.0, excess_db)])
    return Channel(1e6, mtu=128, schedule=times, code=CODES[code], seed=seed, **more)


@pytest.mark.parametrize(
    ('code', 'excess_db'), [('uncoded', -1.5), ('conv_7_1_2', -1.0), ('ldpc_1_2_1024', -0.6)]
)
def test_as_many_datagrams_are_damaged_as_the_curve_predicts(code, excess_db):
    channel, count = noisy(code, excess_db), 20_000
    payload = bytes(117)
    for number in range(count):
        channel.offer(payload, number * 0.0011)
        channel.poll(number * 0.0011)
    channel.poll(count)
    stats = channel.statistics(count)
    expected = CODES[code].datagrams_hit(excess_db, 128)
    assert 0.1 < expected < 0.5
    assert stats.packets_lost / stats.packets_sent == pytest.approx(expected, abs=0.012)
    # Every one of them is found out by its CRC.
    assert channel.receiver.refused == stats.packets_lost
    assert stats.delivered == count - stats.packets_lost


def test_the_same_seed_damages_the_same_datagrams():
    arrivals = [
        [t for t, _ in run(noisy('conv_7_1_2', -1.5, seed), stream(120, 0.01, 5.0), 6.0)]
        for seed in (3, 3, 4)
    ]
    assert arrivals[0] == arrivals[1] != arrivals[2]


def test_a_fade_takes_the_margin_and_then_the_frames():
    profile = profiles.load('moon_dte_s_13m')
    channel = Channel(
        0.0, mtu=128, schedule=schedule.of(profile), code=CODES[profile.code], seed=2
    )
    assert channel.excess_db == pytest.approx(budget.compute(profile).excess_db)
    lost = []
    for step, fade_db in enumerate((0.0, 2.0, 3.6, 8.0)):
        channel.fade_db = fade_db
        before = channel.statistics(0.0).packets_lost
        for number in range(200):
            channel.offer(frame(0.0, 100), 100 * step + number * 0.2)
            channel.poll(100 * step + number * 0.2)
        lost.append(channel.statistics(0.0).packets_lost - before)
    assert lost[:2] == [0, 0] and 20 < lost[2] < 180 and lost[3] >= 195


def test_without_a_code_no_fade_matters():
    channel = Channel(1e4, schedule=Schedule([(None, 1e4, 0.0, 1.0)]))
    channel.fade_db = 50.0
    assert len(list(run(channel, stream(300, 1.0, 20.0), 30.0))) == 20


# Delay


def test_the_delay_follows_the_range_and_order_is_kept():
    times = Schedule([(10.0, 1e4, 5.0), (10.0, 1e4, 1.0), (10.0, 0.0)])
    channel = Channel(0.0, 9.0, mtu=200, schedule=times)
    sent = stream(100, 0.5, 18.0)
    arrivals = list(run(channel, sent, 40.0))
    assert len(arrivals) == len(sent)
    late = [now - at for (now, _), (at, _, _) in zip(arrivals, sent, strict=True)]
    air_s = channel.frame_s(100)
    assert late[0] == pytest.approx(5.0 + air_s) and late[-1] == pytest.approx(1.0 + air_s)
    assert [now for now, _ in arrivals] == sorted(now for now, _ in arrivals)
    channel.poll(41.0)
    assert channel.delay_s == 1.0


def test_an_orbit_has_shorter_ways_overhead():
    times = schedule.of(profiles.load('mars_uhf_relay_orbit'), delay_scale=2.0)
    delays = [one.delay_s for one in times.intervals if one.rate_bps]
    assert 2 * 250e3 / 3e8 <= min(delays) < 0.75 * max(delays)
    assert all(one.excess_db >= 3.0 for one in times.intervals if one.rate_bps)


# Windows from a table


def changed(name, **values):
    import yaml

    from gsc_ros import paths

    content = yaml.safe_load((paths.config_dir() / 'links' / f'{name}.yaml').read_text())
    for key in ('pass_length', 'jam_length'):
        content.pop(key, None)
    return content | {key: {'value': value, 'source': 'x'} for key, value in values.items()}


def test_windows_may_stand_in_a_table():
    table = {'pass_starts': ['0 s', '40 s'], 'pass_ends': ['9 s', '50 s']}
    passes = changed('mars_uhf_relay', pass_period='100 s', **table)
    times = schedule.of(profiles.from_mapping('x', passes))
    assert [times.at(t)[0] > 0 for t in (1, 10, 41, 51, 99, 101)] == [1, 0, 1, 0, 0, 1]
    table = {'jam_starts': ['5 s', '30 s'], 'jam_ends': ['10 s', '60 s']}
    jams = changed('uhf_manet_jammed', jam_period='1 min', **table)
    times = schedule.of(profiles.from_mapping('x', jams))
    quiet, loud = times.at(0.0)[0], times.at(6.0)[0]
    assert loud < quiet and [times.at(t)[0] == loud for t in (4, 9, 11, 31, 59, 61)] == [
        False, True, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    'values',
    [
        {'pass_starts': ['0 s']},
        {'pass_starts': ['0 s', '5 s'], 'pass_ends': ['6 s', '9 s']},
        {'pass_starts': ['0 s'], 'pass_ends': ['101 s']},
        {'pass_starts': ['0 s'], 'pass_ends': ['9 s'], 'pass_length': '9 s'},
    ],
)
def test_impossible_tables_are_refused(values):
    with pytest.raises(ValueError, match='pass_starts'):
        profiles.from_mapping('x', changed('mars_uhf_relay', pass_period='100 s', **values))


def test_an_unknown_code_is_refused():
    with pytest.raises(ValueError, match='code must be one of'):
        profiles.from_mapping('x', changed('uhf_satcom_25k', code='morse'))


def test_classes_have_errors_alike():
    channel = noisy('uncoded', -3.0)
    for number in range(500):
        channel.offer(bytes(100), number * 0.01, TrafficClass.COMMAND)
        channel.poll(number * 0.01)
    assert channel.statistics(5.0, TrafficClass.COMMAND).delivered < 400
