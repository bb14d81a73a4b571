"""Films of a dataset: its sequences at a rate of the user's."""

from gsc_ros.evaluation.datasets.frame import Frame


def films(frames: list[Frame], fps: float, limit: int | None = None) -> list[list[Frame]]:
    """
    Put the sequences of a dataset into films of ``fps`` frames a second, frames left out.

    ``limit``: the first so many frames of each. Raises ``ValueError`` when there are no sequences,
    or one is of an unknown or lower rate.
    """
    if fps <= 0:
        raise ValueError(f'fps {fps} must be more than 0')
    if limit is not None and limit < 1:
        raise ValueError(f'limit {limit} must be 1 or more frames')
    sequences: dict[str, list[Frame]] = {}
    for frame in frames:
        if frame.sequence:
            sequences.setdefault(frame.sequence, []).append(frame)
    out = []
    for name, sequence in sequences.items():
        rate = sequence[0].fps
        if rate < fps:
            known = f'{rate:g} frames/s' if rate else 'an unknown rate'
            raise ValueError(
                f'sequence {name} has {known}: give an fps it has, or other sequences'
            )
        count = int((len(sequence) - 1) * fps / rate + 1e-9) + 1
        picked = [sequence[round(i * rate / fps)] for i in range(count)]
        out.append(picked[:limit])
    if not out:
        raise ValueError('no sequences: films need frames with an order and a rate (docs)')
    return out
