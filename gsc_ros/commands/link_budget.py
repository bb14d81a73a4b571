"""`gsc link-budget PROFILE`: the budget of a link, line by line."""

import argparse
import math
import sys

from gsc_ros.link.radio import budget, profile, profiles, schedule, units


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        'link-budget',
        help='print the budget of a radio link line by line',
        description='Compute rate and delay of a link from the physics in its profile.',
    )
    parser.add_argument('profile', nargs='?', help='name of a profile, or path of a .yaml file')
    parser.add_argument(
        '--list',
        action='store_true',
        help='list the known profiles: rate of full datagrams, delay',
    )
    parser.add_argument(
        '--distance', metavar='D', help='another distance, such as "0.6 AU" or "3 km"'
    )
    parser.add_argument(
        '--frame', type=int, metavar='BYTES', help='also time a frame of so many bytes'
    )
    parser.add_argument(
        '--sources', action='store_true', help='also print where each number is from'
    )


def run(args: argparse.Namespace) -> int:
    """Print what is asked for; returns 0, or 2 with a message for bad arguments."""
    try:
        print(_table() if args.list else _report(args))
    except ValueError as error:
        print(f'gsc link-budget: {error}', file=sys.stderr)
        return 2
    return 0


def _table() -> str:
    rows = [f'{"profile":<18}{"rate":>12}{"delay":>12}  link']
    for name in profiles.known():
        result = budget.compute(profiles.load(name))
        rate, delay = units.show(result.carried_bps, 'rate'), units.show(result.delay_s, 'time')
        rows.append(f'{name:<18}{rate:>12}{delay:>12}  {result.profile.title}')
    return '\n'.join(rows)


def _report(args: argparse.Namespace) -> str:
    if args.profile is None:
        raise ValueError('name a profile, or give --list for the known ones')
    distance = units.parse(args.distance, 'length') if args.distance is not None else None
    result = budget.compute(profiles.load(args.profile), distance)
    profile = result.profile
    parts = [str(result)]
    if args.frame is not None:
        parts.append(_frame(result, args.frame))
    if profile.orbit is not None:
        parts.append(_passes(profile))
    if profile.notes:
        parts.append(f'Note: {profile.notes}')
    if args.sources:
        width = max(map(len, profile.sources))
        parts.append('\n'.join(f'{key:<{width}}  {text}' for key, text in profile.sources.items()))
    return '\n\n'.join(parts)


def _passes(profile: profile.Profile) -> str:
    times = schedule.of(profile)
    span = units.show(profile.orbit_span, 'time')
    rows = [
        f'{one.start / 3600:>8.3f} h{(one.end - one.start) / 60:>8.1f} min'
        f'{math.degrees(one.best.elevation):>8.1f} deg'
        f'{units.show(one.best.range_m, "length"):>12}'
        f'{schedule.carried_bytes(times, one.start, one.end) / 1e6:>10.2f} MB'
        for one in schedule.passes(profile)
    ]
    if not rows:
        return f'no pass within {span}: another orbit, site or least elevation is needed'
    head = f'{"begins":>10}{"lasts":>12}{"highest":>12}{"nearest":>12}{"carries":>13}'
    return '\n'.join([f'Passes within {span}, which come again:', head, *rows])


def _frame(result: budget.Budget, size: int) -> str:
    from gsc_ros.link.datagrams import frames
    from gsc_ros.link.datagrams.ccsds import seal_for
    from gsc_ros.link.traffic.channel import Channel

    if size < 1:
        raise ValueError(f'--frame must be at least 1 byte, got {size}')
    if not result.closes:
        return f'a frame of {size} B never arrives'
    profile = result.profile
    channel = Channel(
        result.rate_bps,
        result.delay_s,
        int(profile.mtu),
        gap_s=profile.packet_gap,
        on_air=profile.on_air,
        seal=seal_for(profile.packets, 'down'),
    )
    # The gap behind the last datagram delays only what follows.
    seconds = channel.frame_s(size + frames.FRAME_OVERHEAD) - profile.packet_gap
    return (
        f'a frame of {size} B: {units.show(seconds, "time")} on air, shown '
        f'{units.show(seconds + result.delay_s, "time")} after it was offered'
    )
