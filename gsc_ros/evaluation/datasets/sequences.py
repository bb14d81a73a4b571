"""The sequences of a dataset at a rate of the user's."""

from gsc_ros.evaluation.datasets.frame import Frame


def sequences(frames: list[Frame], fps: float, limit: int | None = None) -> list[list[Frame]]:
    """
    Return the sequences of a dataset at ``fps`` frames a second; frames between are left out.

    ``limit``: the first so many frames of each. Raises ``ValueError`` when there are no sequences,
    or one is of an unknown or lower rate.
    """
    if fps <= 0:
        raise ValueError(f'fps {fps} must be more than 0')
    if limit is not None and limit < 1:
        raise ValueError(f'limit {limit} must be 1 or more frames')
    by_name: dict[str, list[Frame]] = {}
    for frame in frames:
        if frame.sequence:
            by_name.setdefault(frame.sequence, []).append(frame)
    out = []
    for name, sequence in by_name.items():
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
        raise ValueError('no sequences: give frames with an order and a rate (docs/datasets.md)')
    return out
