"""
Measure the simulated link: goodput, losses, age of the picture, processor time.

Run ``python -m benchmarks.link`` (seconds). Everything but the last table is in simulated time and
the same on every machine.
"""

import itertools
import time

from gsc_ros.link import budget, framing, profiles, units
from gsc_ros.link.channel import Channel, GilbertElliott, GilbertElliottModel
from gsc_ros.link.framing import Class, Reassembler
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
    processor()
