"""
Measure the simulated link.

Goodput, losses, throughput, frames lost, the image's age around an outage, the same frames as a
throttled topic, a day of passes, processor time.

Run ``python -m benchmarks.link`` (two minutes), or with the names of tables. Everything but the
last table is in simulated time and the same on every machine. The file is long because it holds a
function for each table.
"""

import itertools
import math
import statistics
import sys
import time
import tracemalloc
from collections import deque
from functools import cache

from gsc_ros.link.datagrams import framing, seals
from gsc_ros.link.datagrams.ccsds import seal_for
from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.datagrams.security import Sealed
from gsc_ros.link.radio import budget, profiles, units
from gsc_ros.link.radio.losses import GilbertElliott, GilbertElliottModel
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.radio.schedule import of as schedule_of
from gsc_ros.link.traffic.channel import Channel

PACKETS = 1_000_000
FRAME_BYTES = 300


def channel_of(name: str, secure: bool = True, loss: float = 0.0) -> Channel:
    """Return the channel of a profile with its packets, as the node has it but for its losses."""
    result = budget.compute(profiles.load(name))
    profile = result.profile
    sealed = Sealed([bytes(32)], 'down', itertools.count()) if secure else None
    return Channel(
        result.rate_bps,
        result.delay_s,
        int(profile.mtu),
        gap_s=profile.packet_gap,
        on_air=profile.on_air,
        loss=GilbertElliottModel.from_mean(loss),
        seed=5,
        seal=seal_for(profile.packets, 'down', sealed),
    )


def overload(channel: Channel, factor: float, frames: int) -> tuple[float, float, float]:
    """
    Offer `factor` times what the channel carries, for the time of `frames` frames.

    Returns goodput (payload bits delivered a second), the share of the time that datagrams with
    their overhead and gaps took, and the greatest age of the shown frame (s).
    """
    frame_s = channel.frame_s(FRAME_BYTES)
    stamps: list[float] = []
    shown, oldest, received_bytes = None, 0.0, 0
    until = frames * frame_s
    offers = itertools.count()
    next_offer = 0.0
    while True:
        event = channel.next_event()
        if event is None or (next_offer < until and next_offer <= event):
            if next_offer >= until:
                break
            stamps.append(next_offer)
            payload = next(offers).to_bytes(4, 'big') + bytes(FRAME_BYTES - 4)
            channel.offer(payload, next_offer)
            # A little off the beat, so that offers and ends of frames do not fall together.
            next_offer += frame_s / factor * (1.003 if len(stamps) % 2 else 0.997)
            continue
        for received in channel.poll(event):
            received_bytes += len(received.payload)
            if shown is not None:
                oldest = max(oldest, event - shown)
            shown = stamps[int.from_bytes(received.payload[:4], 'big')]
    pacer = channel.sender.pacer
    # The last frame ends a little later.
    seconds = max(until, pacer.free_at)
    return received_bytes * 8 / seconds, channel.sender.sent_s / seconds, oldest


def goodput() -> None:
    """Print goodput and age for each profile at ten times the load."""
    print(
        f'Ten times too many frames of {FRAME_BYTES} B, 500 frame times; overhead: bytes of a '
        'datagram beside its payload, without and with encryption;\ngoodput: payload for each bit '
        'of the computed rate; air used: with headers and gaps (this and the ages: encrypted)'
    )
    print(
        f'  {"profile":<22}{"rate":>11}{"overhead":>10}{"goodput":>16}{"air used":>10}'
        f'{"frame time":>12}{"oldest shown":>15}{"2 T + delay":>14}'
    )
    for name in profiles.known():
        plain, channel = channel_of(name, secure=False), channel_of(name)
        computed = channel.sender.pacer.rate_bps
        bare, _, _ = overload(plain, 10.0, 500)
        rate, used, oldest = overload(channel, 10.0, 500)
        frame_s = channel.frame_s(FRAME_BYTES)
        print(
            f'  {name:<22}{units.show(computed, "rate"):>11}'
            f'{plain.sender.seal.overhead:>6}{channel.sender.seal.overhead:>4}'
            f'{bare / computed:>8.1%}{rate / computed:>8.1%}{used:>10.1%}'
            f'{units.show(frame_s, "time"):>12}{oldest:>13.4f} s'
            f'{2 * frame_s + channel.delay_s:>12.4f} s'
        )


def throughput() -> None:
    """Print what gets through of a million datagrams against the theory."""
    model = GilbertElliottModel(0.05, 0.10)
    channel = Channel(1e6, mtu=200, loss=model, seed=3)
    payload = bytes(200 - seals.OVERHEAD)
    step_s = 1.0001 * channel.frame_s(len(payload))
    for number in range(PACKETS):
        channel.offer(payload, number * step_s)
        channel.poll(number * step_s)
    seconds = PACKETS * step_s
    channel.poll(seconds)
    through = 8 * len(payload) * channel.statistics(seconds).delivered / seconds
    theory = 1e6 / 1.0001 * len(payload) / 200 * (1 - model.mean_loss)
    print(
        f'\nThrough of {PACKETS:,} datagrams of 200 B at 1 Mbit/s, p 0.05, r 0.10: '
        f'{through / 1e3:.1f} kbit/s, theory {theory / 1e3:.1f}, off {through / theory - 1:+.2%}'
    )


def losses() -> None:
    """Print measured losses against the theory."""
    runs = 10
    print(
        f'\nLosses over {PACKETS:,} packets, mean and spread of {runs} runs, in per cent of the '
        'theory (p, r as in tc netem gemodel)'
    )
    columns = ''.join(f'{name:>10}{"theory":>10}{"off %":>14}' for name in ('loss', 'burst'))
    print(f'  {"p":>6}{"r":>6}{columns}')
    for start, end in ((0.02, 0.25), (0.05, 0.10), (0.03, 0.25)):
        model = GilbertElliottModel(start, end)
        rates, lengths = [], []
        for seed in range(runs):
            chain = GilbertElliott(model, seed)
            fate = [chain.lost() for _ in range(PACKETS)]
            rates.append(sum(fate) / PACKETS)
            bursts = sum(1 for before, now in itertools.pairwise([False, *fate]) if now > before)
            lengths.append(sum(fate) / bursts)
        row = f'  {start:>6}{end:>6}'
        for found, theory in ((rates, model.mean_loss), (lengths, model.mean_burst)):
            mean = statistics.mean(found)
            off, spread = 100 * (mean / theory - 1), 100 * statistics.stdev(found) / theory
            row += f'{mean:>10.4f}{theory:>10.4f}{off:>+7.2f} ± {spread:.2f}'
        print(row)


def crossing(
    model: GilbertElliottModel, mtu: int, frames: int, with_parity: bool
) -> tuple[Channel, float]:
    """
    Send a steady stream of frames over a lossy link, as many as it can take.

    Returns the channel, and the bytes shown for each byte sent.
    """
    channel = Channel(9600.0, 0.05, mtu, loss=model, seed=3)
    if with_parity:
        channel.sender.set_fec(model.mean_loss, max(1.0, model.mean_burst))
    step = 1.01 * channel.frame_s(FRAME_BYTES)
    out = []
    for number in range(frames):
        channel.offer(bytes(FRAME_BYTES), number * step)
        out += channel.poll(number * step)
    out += channel.poll(frames * step + 10)
    return channel, sum(len(r.payload) for r in out) / channel.sender.sent_bytes


def lost() -> None:
    """Print what arrives of frames over a lossy link, and of messages that come whole or not."""
    frames, mtu = 4000, 60
    for burst in (None, 1.5, 3.0):
        runs = f'runs of {burst:g}' if burst else 'each on its own'
        print(
            f'\nOf {frames} frames of {FRAME_BYTES} B in datagrams of {mtu} B, losses {runs}; '
            'air: bytes shown for each byte sent'
        )
        print(f'  {"":>6}{"without parity":>27}{"with parity":>27}{"all or nothing":>27}')
        print(
            f'  {"loss":>6}'
            + f'{"whole":>9}{"part":>9}{"air":>9}' * 2
            + f'{"whole":>18}{"air":>9}'
        )
        for tenths in range(7):
            model = GilbertElliottModel.from_mean(tenths / 10, burst if tenths else None)
            row = f'  {tenths / 10:>6.0%}'
            for with_parity in (False, True):
                channel, air = crossing(model, mtu, frames, with_parity)
                s = channel.statistics(0.0)
                whole = (s.delivered - s.truncated) / frames
                row += f'{whole:>9.1%}{s.truncated / frames:>9.1%}{air:>9.1%}'
            fate, count = GilbertElliott(model, seed=3), framing.fragment_count(FRAME_BYTES, mtu)
            all_came = [not any([fate.lost() for _ in range(count)]) for _ in range(frames)]
            plain = sum(all_came) / frames
            share = FRAME_BYTES / framing.air_bytes(FRAME_BYTES, mtu)
            print(row + f'{plain:>18.1%}{plain * share:>9.1%}')


def outage() -> None:
    """Print the image's age around an outage, and with a plain queue in the link's place."""
    rate, delay, closed = 9600.0, 0.1, 30.0
    times = Schedule(((60.0, rate), (closed, 0.0)))
    channel = Channel(rate, delay, 1115, schedule=times)
    frame_s = channel.frame_s(FRAME_BYTES)
    every = 0.2
    print(
        f'\nAge of the shown image, s: {closed:g} s of outage, {rate:g} bit/s, a frame of '
        f'{FRAME_BYTES} B every {every:g} s, frame time + delay {frame_s + delay:.3f} s'
    )
    print(f'  {"":<34}{"before":>8}{"first after":>13}{"10 s after":>12}')

    def print_row(label: str, shown: list[tuple[float, float]]) -> None:
        """Print of (time, stamp) what was shown last before, first after and 10 s after."""
        before = [t - s for t, s in shown if t < 60.0][-1]
        after = [t - s for t, s in shown if t >= 60.0 + closed]
        later = [t - s for t, s in shown if t >= 70.0 + closed]
        print(f'  {label:<34}{before:>8.3f}{after[0]:>13.3f}{later[0]:>12.3f}')

    shown, stamp, now = [], 0.07, 0.0
    while now < 75.0 + closed:
        event = channel.next_event()
        if event is None or stamp <= event:
            now = stamp
            channel.offer(stamp.hex().encode().ljust(FRAME_BYTES), now)
            stamp += every
        else:
            now = event
        for received in channel.poll(now):
            shown.append((now, float.fromhex(received.payload[:30].split()[0].decode())))
    print_row('this link', shown)

    # A topic throttled to what the link carries, as topic_tools does, through a queue as reliable
    # topics have; the queue is emptied at the link's rate, messages whole.
    for depth in (10, 1000):
        queue: deque[float] = deque(maxlen=depth)
        shown, free, throttled = [], 0.0, math.ceil(frame_s / every) * every
        for tick in range(int((75.0 + closed) / every)):
            now = 0.07 + tick * every
            while queue and free <= now:
                start = times.opens(max(free, queue[0]))
                assert start is not None, 'the outage ends'
                if start > now:
                    break
                free = start + frame_s
                shown.append((free + delay, queue.popleft()))
            if tick % round(throttled / every) == 0:
                queue.append(now)
        print_row(f'a throttle and a queue of {depth}', sorted(shown))


# RTPS 2.5, 9.4: header 20, INFO_TS 12, DATA 24 with its inline header; UDP and IP 28.
_RTPS_BYTES = 20 + 12 + 24 + 28


@cache
def cdr_bytes() -> tuple[int, int]:
    """Return the bytes of a frame of `FRAME_BYTES` and of a camera_info as DDS sends them."""
    try:
        from gsc_ros.msg import SemanticFrame
        from rclpy.serialization import serialize_message
        from sensor_msgs.msg import CameraInfo
    except ImportError:
        return 401 + _RTPS_BYTES, 373 + _RTPS_BYTES  # as measured with them
    frame = SemanticFrame(preset='gsc', caption='street: 2 cars ahead', data=bytes(FRAME_BYTES))
    camera = CameraInfo(distortion_model='plumb_bob', d=[0.0] * 5)
    sizes = []
    for message in (frame, camera):
        message.header.frame_id = 'camera_optical_frame'
        sizes.append(len(serialize_message(message)) + _RTPS_BYTES)
    return sizes[0], sizes[1]


def throttled(name: str, loss: float, seconds: float) -> tuple[float, float]:
    """
    Send frames as a throttled topic does: all or nothing, in order, the oldest first.

    The throttle (topic_tools, ``messages``) lets through what the link can carry on average.
    Returns frames shown a second, and their mean age when shown (s).
    """
    channel = channel_of(name)
    size, pacer = cdr_bytes()[0], channel.sender.pacer
    mtu = channel.sender.mtu
    count, rest = -(-size // mtu), (size - 1) % mtu + 1
    air_s = pacer.air_s(mtu, count - 1) + pacer.air_s(rest)
    chain = GilbertElliott(GilbertElliottModel.from_mean(loss), seed=5)
    queue: deque[float] = deque(maxlen=10)
    ages, free, passed = [], 0.0, -math.inf
    for tick in range(int(seconds / 0.2)):
        now = 0.2 * tick
        while queue and free <= now:
            stamp = queue.popleft()
            free = max(free, stamp) + air_s
            if not any([chain.lost() for _ in range(count)]):
                ages.append(free + channel.delay_s - stamp)
        if now >= passed + air_s:
            passed = now
            queue.append(now)
    return len(ages) / seconds, sum(ages) / max(len(ages), 1)


def ours(name: str, loss: float, seconds: float) -> tuple[float, float, float]:
    """Send the same frames over this link; also returns the mean share of them shown."""
    channel, size = channel_of(name, loss=loss), FRAME_BYTES + FRAME_OVERHEAD
    channel.sender.set_fec(loss)
    ages, shares, tick = [], [], 0
    while tick * 0.2 < seconds:
        event = channel.next_event()
        if event is None or 0.2 * tick <= event:
            channel.offer(f'{0.2 * tick:012.3f}'.encode().ljust(size), 0.2 * tick)
            tick += 1
            continue
        for received in channel.poll(event):
            ages.append(event - float(received.payload[:12]))
            shares.append(len(received.payload) / size)
    return len(ages) / seconds, sum(ages) / len(ages), sum(shares) / len(shares)


def peer() -> None:
    """Print frames and ages beside those of a throttled topic over the same link."""
    frame, camera = cdr_bytes()
    print(
        f'\nFrames of {FRAME_BYTES} B, five a second, for 600 s; this link with its stamps and '
        'encrypted. The peer is a topic\nthrottled to what the link carries, in clear, '
        f'{frame} B a frame with CDR, RTPS, UDP and IP (a camera_info of {camera} B\nis not '
        'counted), through a queue of 10. Frames shown a second, mean age when shown in s, mean '
        'share of a frame shown'
    )
    print(f'  {"profile":<18}{"loss":>6}{"this link":>26}{"throttle":>20}')
    for name in ('moon_dte_s_13m', 'vhf_cnr_25k', 'uhf_satcom_25k', 'lora_915_fhss'):
        for loss in (0.0, 0.1, 0.3):
            rate, age, share = ours(name, loss, 600.0)
            row = f'  {name:<18}{loss:>6.0%}{rate:>10.2f}{age:>8.2f}{share:>8.0%}'
            rate, age = throttled(name, loss, 600.0)
            row += f'{rate:>12.2f}{age:>8.2f}'
            print(row)


def relay_day() -> None:
    """Print a day of a relay orbiter's passes, and what of memory the day has taken."""
    profile = profiles.load('mars_uhf_relay')
    result = budget.compute(profile)

    def a_day() -> Channel:
        channel = Channel(
            result.rate_bps, result.delay_s, int(profile.mtu), schedule=schedule_of(profile)
        )
        for second in range(seconds):
            channel.offer(bytes(FRAME_BYTES), float(second))
            channel.poll(second + 0.5)
            if tracemalloc.is_tracing() and second == 3600:
                held.append(tracemalloc.get_traced_memory()[0])
        return channel

    seconds, held = 24 * 3600, []
    begin = time.monotonic()
    channel = a_day()
    took = time.monotonic() - begin
    tracemalloc.start()
    again = a_day()
    held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    del again
    s = channel.statistics(seconds)
    waiting = s.offered - s.delivered - s.lost - s.stale
    print(
        f'\n24 h of mars_uhf_relay, a frame a second, in {took:.1f} s: {s.offered} offered, '
        f'{s.delivered} shown ({s.truncated} cut), {s.lost} lost, {s.stale} stale, '
        f'{waiting} waiting; {channel.receiver.held_bytes} B held at the end; memory after the '
        f'first hour {held[0]} B, after the day {held[1]} B'
    )


def processor() -> None:
    """Print processor time for 1,000 datagrams, with a CRC and encrypted."""
    print('\nProcessor time of 1,000 datagrams of 200 B, ms')
    print(f'  {"":<12}{"pack":>8}{"read and reassemble":>22}{"the whole channel":>20}')
    count = 20_000
    sealed = Sealed([bytes(32)], 'down', itertools.count())
    for label, seal in (('CRC-32', seals.CHECKSUM), ('AES-256-CCM', sealed)):
        payload = bytes(200 - seal.overhead)
        begin = time.process_time()
        packets = [
            datagram.pack(seal)
            for number in range(count)
            for datagram in framing.fragments(
                payload, TrafficClass.FRAME, number, 200, seal.overhead
            )
        ]
        packed = time.process_time()
        receiver = Reassembler(1.0, seal)
        for packet in packets:
            receiver.push(packet, 0.0)
        read = time.process_time()
        channel = Channel(1e6, 0.01, 200, seal=seal)
        step = channel.frame_s(len(payload)) * 1.01
        for number in range(count):
            channel.offer(payload, number * step)
            channel.poll(number * step)
        through = time.process_time()
        took = [s / count * 1e6 for s in (packed - begin, read - packed, through - read)]
        print(f'  {label:<12}{took[0]:>8.2f}{took[1]:>22.2f}{took[2]:>20.2f}')


TABLES = (goodput, losses, throughput, lost, outage, peer, relay_day, processor)

if __name__ == '__main__':
    wanted = sys.argv[1:] or [table.__name__ for table in TABLES]
    unknown = set(wanted) - {table.__name__ for table in TABLES}
    if unknown:
        raise SystemExit(
            f'no table {", ".join(unknown)}; there are '
            + ', '.join(table.__name__ for table in TABLES)
        )
    for table in TABLES:
        if table.__name__ in wanted:
            table()
