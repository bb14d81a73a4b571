"""
Measure the simulated link.

Goodput, losses, frames lost, the picture's age around an outage, a day of passes, processor time.

Run ``python -m benchmarks.link`` (seconds). Everything but the last table is in simulated time and
the same on every machine.
"""

import itertools
import math
import time
from collections import deque

from gsc_ros.link import budget, framing, profiles, units
from gsc_ros.link.channel import Channel, GilbertElliott, GilbertElliottModel
from gsc_ros.link.framing import Class, Reassembler
from gsc_ros.link.schedule import Schedule
from gsc_ros.link.schedule import of as schedule_of
from gsc_ros.link.security import Sealed

PACKETS = 1_000_000
FRAME_BYTES = 300


def channel_of(name: str) -> Channel:
    """Return the lossless channel of a profile."""
    result = budget.compute(profiles.load(name))
    profile = result.profile
    return Channel(result.rate_bps, result.delay_s, int(profile.mtu), gap_s=profile.packet_gap)


def overload(channel: Channel, factor: float, frames: int) -> tuple[float, float]:
    """
    Offer `factor` times what the channel carries, for the time of `frames` frames.

    Returns goodput (payload bits delivered a second) and the greatest age of the shown frame (s).
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
    return received_bytes * 8 / until, oldest


def goodput() -> None:
    """Print goodput and age for each profile at ten times the load."""
    print(f'Ten times too many frames of {FRAME_BYTES} B, 500 frame times')
    print(
        f'  {"profile":<18}{"air rate":>11}{"goodput":>11}{"of rate":>9}{"frame time":>12}'
        f'{"oldest shown":>15}{"2 T + delay":>14}'
    )
    for name in profiles.known():
        channel = channel_of(name)
        rate, oldest = overload(channel, 10.0, 500)
        frame_s = channel.frame_s(FRAME_BYTES)
        print(
            f'  {name:<18}{units.show(channel.rate_bps, "rate"):>11}'
            f'{units.show(rate, "rate"):>11}{rate / channel.rate_bps:>9.1%}'
            f'{units.show(frame_s, "time"):>12}{oldest:>13.4f} s'
            f'{2 * frame_s + channel.delay_s:>12.4f} s'
        )


def losses() -> None:
    """Print measured losses against the theory."""
    print(f'\nLosses over {PACKETS:,} packets (p, r as in tc netem gemodel)')
    print(f'  {"p":>6}{"r":>6}{"loss":>10}{"theory":>10}{"burst":>10}{"theory":>10}')
    for start, end in ((0.02, 0.25), (0.05, 0.10), (0.03, 0.25)):
        model = GilbertElliottModel(start, end)
        chain = GilbertElliott(model, seed=7)
        fate = [chain.lost() for _ in range(PACKETS)]
        bursts = [sum(1 for _ in group) for lost, group in itertools.groupby(fate) if lost]
        print(
            f'  {start:>6}{end:>6}{sum(fate) / PACKETS:>10.4f}{model.mean_loss:>10.4f}'
            f'{sum(bursts) / len(bursts):>10.3f}{model.mean_burst:>10.3f}'
        )


def lost() -> None:
    """Print what arrives of frames over a lossy link, and of messages that come whole or not."""
    frames, mtu, rate = 4000, 60, 9600.0
    print(
        f'\nOf {frames} frames of {FRAME_BYTES} B in datagrams of {mtu} B, bursts of 3 datagrams'
    )
    print(
        f'  {"loss":>6}{"whole":>9}{"beginning":>11}{"nothing":>9}{"shown bytes":>13}'
        f'{"all or nothing":>16}'
    )
    for tenths in range(7):
        model = GilbertElliottModel.from_mean(tenths / 10, 3.0 if tenths else None)
        channel = Channel(rate, 0.05, mtu, loss=model, seed=3)
        step = 1.01 * channel.frame_s(FRAME_BYTES)
        out = []
        for number in range(frames):
            channel.offer(bytes(FRAME_BYTES), number * step)
            out += channel.poll(number * step)
        out += channel.poll(frames * step + 10)
        whole = sum(not r.truncated for r in out) / frames
        part = sum(r.truncated for r in out) / frames
        shown = sum(len(r.payload) for r in out) / frames / FRAME_BYTES
        fate, count = GilbertElliott(model, seed=3), framing.fragment_count(FRAME_BYTES, mtu)
        plain = sum(not any([fate.lost() for _ in range(count)]) for _ in range(frames)) / frames
        print(
            f'  {tenths / 10:>6.0%}{whole:>9.1%}{part:>11.1%}{1 - whole - part:>9.1%}'
            f'{shown:>13.1%}{plain:>16.1%}'
        )


def outage() -> None:
    """Print the picture's age around an outage, and with a plain queue in the link's place."""
    rate, delay, closed = 9600.0, 0.1, 30.0
    times = Schedule(((60.0, rate), (closed, 0.0)))
    channel = Channel(rate, delay, 1115, schedule=times)
    frame_s = channel.frame_s(FRAME_BYTES)
    every = 0.2
    print(
        f'\nAge of the shown picture, s: {closed:g} s of outage, {rate:g} bit/s, a frame of '
        f'{FRAME_BYTES} B every {every:g} s, frame time + delay {frame_s + delay:.3f} s'
    )
    print(f'  {"":<34}{"before":>8}{"first after":>13}{"10 s after":>12}')

    def told(label: str, shown: list[tuple[float, float]]) -> None:
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
    told('this link', shown)

    # A topic throttled to what the link carries, as topic_tools does, through a queue as reliable
    # topics have; the queue is emptied at the link's rate, messages whole.
    for depth in (10, 1000):
        queue: deque[float] = deque(maxlen=depth)
        shown, free, throttled = [], 0.0, math.ceil(frame_s / every) * every
        for tick in range(int((75.0 + closed) / every)):
            now = 0.07 + tick * every
            while queue and free <= now:
                start = times.opens(max(free, queue[0]))
                if start > now:
                    break
                free = start + frame_s
                shown.append((free + delay, queue.popleft()))
            if tick % round(throttled / every) == 0:
                queue.append(now)
        told(f'a throttle and a queue of {depth}', sorted(shown))


def relay_day() -> None:
    """Print a day of a relay orbiter's passes."""
    profile = profiles.load('mars_uhf_relay')
    result = budget.compute(profile)
    channel = Channel(
        result.rate_bps, result.delay_s, int(profile.mtu), schedule=schedule_of(profile), seed=1
    )
    begin = time.monotonic()
    seconds = 24 * 3600
    for second in range(seconds):
        channel.offer(bytes(FRAME_BYTES), float(second))
        channel.poll(second + 0.5)
    took = time.monotonic() - begin
    s = channel.statistics(seconds)
    waiting = s.offered - s.delivered - s.lost - s.stale
    print(
        f'\n24 h of mars_uhf_relay, a frame a second, in {took:.1f} s: {s.offered} offered, '
        f'{s.delivered} shown ({s.truncated} cut), {s.lost} lost, {s.stale} stale, '
        f'{waiting} waiting; {channel.receiver.held_bytes} B held at the end'
    )


def processor() -> None:
    """Print processor time for 1,000 datagrams, with a CRC and encrypted."""
    print('\nProcessor time of 1,000 datagrams of 200 B, ms')
    print(f'  {"":<12}{"pack":>8}{"read and reassemble":>22}{"the whole channel":>20}')
    count = 20_000
    sealed = Sealed([bytes(32)], 'down', itertools.count())
    for label, seal in (('CRC-32', framing.CHECKSUM), ('AES-256-CCM', sealed)):
        payload = bytes(200 - seal.overhead)
        begin = time.process_time()
        packets = [
            datagram.pack(seal)
            for number in range(count)
            for datagram in framing.fragments(payload, Class.FRAME, number, 200, seal.overhead)
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


if __name__ == '__main__':
    goodput()
    losses()
    lost()
    outage()
    relay_day()
    processor()
