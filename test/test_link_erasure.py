"""Parity behind frames: any k fragments give all, ages stay bounded, and it is worth its air."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_channel import frame, greatest_age, run, stream

from gsc_ros.link.datagrams import erasure, framing
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.datagrams.seals import FramingError
from gsc_ros.link.radio.losses import GilbertElliott, GilbertElliottModel
from gsc_ros.link.traffic.channel import Channel
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.reports import ReceiverStats
from gsc_ros.link.traffic.sender import Sender


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_k_fragments_give_all(data):
    k = data.draw(st.integers(2, erasure.MAX_DATA))
    width = data.draw(st.integers(1, 40))
    source = random.Random(data.draw(st.integers(0, 99)))
    fragments = [source.randbytes(width) for _ in range(k)]
    fragments[-1] = fragments[-1][: data.draw(st.integers(1, width))]
    count = data.draw(st.integers(1, erasure.max_parity(k)))
    parity = erasure.parity(fragments, count)
    assert {len(part) for part in parity} == {width}
    known = dict(enumerate([*fragments, *parity]))
    for index in source.sample(sorted(known), count):
        del known[index]
    assert erasure.restore(known, k) == [part.ljust(width, b'\0') for part in fragments]


def test_what_cannot_be_restored_is_refused():
    parts = dict(enumerate([b'ab', b'cd', b'ef']))
    with pytest.raises(ValueError, match='3 fragments are needed, got 2'):
        erasure.restore({0: parts[0], 4: b'xy'}, 3)
    with pytest.raises(ValueError, match='indices'):
        erasure.restore({0: parts[0], 1: parts[1], 6: b'xy'}, 3)
    with pytest.raises(ValueError, match='0 to 3 of parity'):
        erasure.parity(list(parts.values()), 4)
    with pytest.raises(ValueError, match='loss'):
        erasure.how_many(4, 1.5)
    with pytest.raises(ValueError, match='burst'):
        erasure.how_many(4, 0.1, 0.5)


@pytest.mark.parametrize(
    ('k', 'm', 'loss', 'burst'),
    [
        (2, 0, 0.3, None),
        (6, 3, 0.2, None),
        (10, 10, 0.5, 4.0),
        (6, 3, 0.2, 3.0),
        (64, 9, 0.1, 2.0),
    ],
)
def test_the_expected_share_is_that_of_a_trial(k, m, loss, burst):
    total, trials = 0.0, 10_000
    model = GilbertElliottModel.from_mean(loss, burst)
    for trial in range(trials):
        chain = GilbertElliott(model, trial)
        came = [not chain.lost() for _ in range(k + m)]
        total += 1.0 if sum(came) >= k else ([*came[:k], False].index(False)) / k
    assert erasure.expected_share(k, m, loss, burst or 1.0) == pytest.approx(
        total / trials, abs=0.015
    )


def test_more_loss_asks_for_more_parity_and_none_for_none():
    counts = [erasure.how_many(8, loss) for loss in (0.0, 0.05, 0.15, 0.3)]
    assert counts[0] == 0 and counts == sorted(set(counts))
    assert erasure.how_many(1, 0.3) == 0
    assert erasure.how_many(8, 0.3, 8.0) == 0  # no use against runs of losses
    assert erasure.expected_share(8, 8, 1.0) == 0.0


def datagrams(payload, mtu, loss):
    """What a sender makes of one payload."""
    sender = Sender(Pacer(1e6), mtu)
    sender.set_fec(loss)
    sender.offer(payload, 0.0, TrafficClass.FRAME)
    return [(datagram, data) for _, datagram, data in sender.advance(100.0)]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_guarded_frame_comes_whole_or_as_its_beginning(data):
    size = data.draw(st.integers(100, 900))
    payload = random.Random(size).randbytes(size)
    sent = datagrams(payload, data.draw(st.integers(50, 90)), data.draw(st.floats(0.05, 0.5)))
    assert max(len(packet) for _, packet in sent) <= 90
    count = sum(not datagram.parity for datagram, _ in sent)
    came = [one for one in sent if data.draw(st.booleans())]
    receiver = Reassembler(1.0)
    out = [one for _, packet in came for one in receiver.push(packet, 0.0)]
    out += receiver.expire(2.0)
    if len(came) >= count:
        assert [(one.payload, one.truncated) for one in out] == [(payload, False)]
    else:
        for one in out:
            assert payload.startswith(one.payload)
            assert one.truncated
        assert len(out) <= 1
    assert receiver.malformed == receiver.held_bytes == 0


def test_a_frame_without_losses_has_the_same_bytes_as_before():
    payload = bytes(range(200))
    plain = [d.pack() for d in framing.fragments(payload, TrafficClass.FRAME, 0, 60)]
    assert [packet for _, packet in datagrams(payload, 60, 0.0)] == plain


def test_only_frames_have_parity():
    with pytest.raises(ValueError, match='only frames'):
        Datagram(TrafficClass.COMMAND, 0, 0, b'x', parity=True)


@pytest.mark.parametrize('fragment', [b'', b'\0', b'\0\1', b'\0\0x', b'\xff\xffx', b'\0\1x'])
def test_parity_that_cannot_be_is_refused(fragment):
    packet = Datagram(TrafficClass.FRAME, 0, 0, fragment, parity=True).pack()
    with pytest.raises(FramingError):
        Datagram.unpack(packet)


def test_parity_of_another_payload_is_counted_and_kept_out():
    first, other = (datagrams(bytes(300 + 50 * n), 60, 0.3) for n in (0, 1))
    receiver = Reassembler(1.0)
    receiver.push(first[0][1], 0.0)
    assert receiver.push(other[-1][1], 0.0) == [] and receiver.malformed == 1
    out = [one for _, packet in first[1:] for one in receiver.push(packet, 0.0)]
    assert out[0].payload == bytes(300) and not out[0].truncated


@pytest.mark.parametrize('burst', [None, 3.0])
def test_the_loss_is_seen_rightly_behind_parity(burst):
    model = GilbertElliottModel.from_mean(0.2, burst)
    channel = Channel(9600.0, 0.0, 60, loss=model, seed=5)
    channel.sender.set_fec(0.2)
    receiver_stats, step = ReceiverStats(channel.receiver), 1.01 * channel.frame_s(300)
    seen = []
    for number in range(4000):
        channel.offer(frame(0.0, 300), number * step)
        channel.poll(number * step)
        receiver_stats.update()
        seen.append((receiver_stats.estimate.loss, receiver_stats.estimate.burst))
    assert channel.receiver.restored > 500
    loss, length = (sum(column) / len(seen) for column in zip(*seen, strict=True))
    assert loss == pytest.approx(0.2, abs=0.02)
    assert length == pytest.approx(burst or 1.25, rel=0.2)


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(120, 1200),
    rate=st.sampled_from([300.0, 10_240.0]),
    mtu=st.sampled_from([50, 128]),
    overload=st.floats(3.0, 30.0),
    loss=st.floats(0.02, 0.6),
    setups=st.booleans(),
)
def test_parity_makes_no_frame_older(size, rate, mtu, overload, loss, setups):
    channel = Channel(rate, 0.1, mtu)
    channel.sender.set_fec(loss)
    frame_s = channel.frame_s(size)
    until = 30 * frame_s
    offers = stream(size, frame_s / overload, until)
    if setups:
        offers = sorted(
            offers + stream(max(8, size // 3), 7.3 * frame_s, until, TrafficClass.SETUP),
            key=lambda offer: offer[0],
        )
    arrivals = list(run(channel, offers, until + 2 * frame_s))
    assert greatest_age(arrivals, 0.0) < 2 * frame_s + channel.delay_s
    assert sum(r.traffic_class is TrafficClass.FRAME for _, r in arrivals) >= 20


def goodput(protected, model, frames=3000):
    """Bytes of frames that are of use, for each byte that went on air, as a steady stream."""
    channel = Channel(9600.0, 0.0, 63, loss=model, seed=11)
    if protected:
        channel.sender.set_fec(model.mean_loss, max(1.0, model.mean_burst))
    step = 1.01 * channel.frame_s(300)
    out = []
    for number in range(frames):
        channel.offer(bytes(300), number * step)
        out += channel.poll(number * step)
    return sum(len(one.payload) for one in out) / channel.sender.sent_bytes


@pytest.mark.parametrize(
    ('loss', 'burst', 'gain'),
    [(0.1, None, 1.05), (0.2, None, 1.2), (0.4, None, 1.4), (0.3, 3.0, 0.99), (0.3, 8.0, 0.99)],
)
def test_parity_is_worth_its_air(loss, burst, gain):
    model = GilbertElliottModel.from_mean(loss, burst)
    assert goodput(True, model) > gain * goodput(False, model)
