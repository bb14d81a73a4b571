"""
Erasure protection: parity fragments from which lost fragments of a payload come back.

A Reed-Solomon word goes across the fragments: byte i of all of them is one word over GF(256), so
that any `k` of the fragments, be they data or parity, give all `k` of data (the library is
`reedsolo`; which fragments are lost is known, so it is asked for erasures only). For `k` there is
one code, of as many parity fragments as `max_parity` returns, and the first of them are sent: how
many those are need not be sent.

The code is linear. So the library is asked once what one byte gives, and that factor is applied to
a whole fragment at once; nothing is computed byte by byte.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from reedsolo import RSCodec

# A payload of more fragments is not protected: to restore one would take too much time.
MAX_DATA = 64


def max_parity(k: int) -> int:
    """How many parity fragments there are for `k` fragments of data: as many again."""
    return k if 2 <= k <= MAX_DATA else 0


@lru_cache(MAX_DATA)
def _code(k: int) -> 'RSCodec':
    # Here, so that whatever imports the framing needs the library only when there is parity.
    from reedsolo import RSCodec

    return RSCodec(max_parity(k))


@lru_cache(MAX_DATA)
def _factors(k: int) -> list[bytes]:
    """Row i: by what fragment i of data counts in each parity fragment."""
    units = (bytes(i) + b'\1' + bytes(k - 1 - i) for i in range(k))
    return [bytes(_code(k).encode(unit)[k:]) for unit in units]


@lru_cache(256)
def _solution(k: int, lost: tuple[int, ...], used: tuple[int, ...]) -> list[bytes]:
    """Row u: what the lost fragments are when parity `used[u]` is 1 and all else known is 0."""
    code = _code(k)
    missing = [*lost, *(k + j for j in range(max_parity(k)) if j not in used)]
    rows = []
    for j in used:
        word = bytearray(k + max_parity(k))
        word[k + j] = 1
        data = code.decode(word, erase_pos=missing, only_erasures=True)[0]
        rows.append(bytes(data[i] for i in lost))
    return rows


@lru_cache(256)
def _times(factor: int) -> bytes:
    """Table of the products with a factor."""
    code = _code(2)
    log, exp = code.gf_log, code.gf_exp
    return bytes(exp[(log[factor] + log[x]) % 255] if factor and x else 0 for x in range(256))


def _product(factor: int, fragment: bytes) -> int:
    """Return a fragment times a factor, as one long integer: sums are XORs of those."""
    return int.from_bytes(fragment.translate(_times(factor)), 'big')


def parity(fragments: Sequence[bytes], count: int) -> list[bytes]:
    """
    Return `count` parity fragments, each as long as the longest of data.

    Shorter fragments count as if zeros stood behind. Raises ValueError for more parity than
    `max_parity` has.
    """
    k = len(fragments)
    if not 0 <= count <= max_parity(k):
        raise ValueError(f'{k} fragments have 0 to {max_parity(k)} of parity, got {count}')
    if not count:
        return []
    width = max(map(len, fragments))
    factors = _factors(k)
    sums = [0] * count
    for row, fragment in zip(factors, fragments, strict=True):
        padded = fragment.ljust(width, b'\0')
        for j in range(count):
            sums[j] ^= _product(row[j], padded)
    return [value.to_bytes(width, 'big') for value in sums]


def restore(known: Mapping[int, bytes], k: int) -> list[bytes]:
    """
    Return the `k` fragments of data from any `k` that are known.

    known: by index, data from 0, parity from `k` on. All come out as long as the longest. Raises
    ValueError for fewer than `k`, or indices that there are not.
    """
    there = max_parity(k)
    if not there or any(not 0 <= i < k + there for i in known):
        raise ValueError(f'no code of {k} fragments has the indices {sorted(known)}')
    lost = tuple(i for i in range(k) if i not in known)
    used = tuple(sorted(i - k for i in known if i >= k))[: len(lost)]
    if len(used) < len(lost):
        raise ValueError(f'{k} fragments are needed, got {len(known)}')
    width = max(map(len, known.values()))
    data = {i: part.ljust(width, b'\0') for i, part in known.items() if i < k}
    # What is left of the parity when the known data are taken out is the parity of the lost.
    left = {j: int.from_bytes(known[k + j].ljust(width, b'\0'), 'big') for j in used}
    factors = _factors(k) if lost else []
    for i, part in data.items():
        for j in used:
            left[j] ^= _product(factors[i][j], part)
    solution = _solution(k, lost, used)
    for place, i in enumerate(lost):
        value = 0
        for row, j in zip(solution, used, strict=True):
            value ^= _product(row[place], left[j].to_bytes(width, 'big'))
        data[i] = value.to_bytes(width, 'big')
    return [data[i] for i in range(k)]


@lru_cache(8)
def _lost_counts(loss: float, burst: float) -> NDArray[np.float64]:
    """
    Return the chances to lose exactly c of the next r fragments, float64 (2, N, N) by r and c.

    [0]: when the one before arrived, [1]: when it was lost.
    """
    end = 1 / burst
    start = min(1.0, loss * end / (1 - loss))
    size = 2 * MAX_DATA + 1
    chances = np.zeros((2, size, size))
    chances[:, 0, 0] = 1.0
    for r in range(1, size):
        received, lost = chances[0, r - 1], np.concatenate([[0.0], chances[1, r - 1, :-1]])
        chances[0, r] = (1 - start) * received + start * lost
        chances[1, r] = end * received + (1 - end) * lost
    return chances


@lru_cache(1 << 14)
def expected_share(k: int, m: int, loss: float, burst: float = 1.0) -> float:
    """
    Share of a payload that is of use when `k` fragments and `m` of parity are sent, expected.

    All of it when at least `k` arrive, else its unbroken beginning. loss: share that is lost,
    0..1, in runs of `burst` fragments on average (when each is lost or not on its own, that is
    1 / (1 - loss); smaller values count as this).
    """
    if loss >= 1.0:
        return 0.0
    burst = max(burst, 1 / (1 - loss))
    start = min(1.0, loss / (burst * (1 - loss)))
    after_received, after_lost = _lost_counts(loss, burst)
    n = k + m
    first = (1 - loss) * after_received[n] + loss * after_lost[n]
    share = float(first[: m + 1].sum())
    # The first j arrive, the next is lost, and so are too many of the others.
    for j in range(1, k):
        beginning = (1 - loss) * (1 - start) ** (j - 1) * start
        share += j / k * beginning * float(after_lost[n - j - 1, m:].sum())
    return share


@lru_cache(1 << 12)
def how_many(k: int, loss: float, burst: float = 1.0) -> int:
    """
    Return how many parity fragments make the most of the air; 0 where there is no gain in any.

    That is the greatest `expected_share` for each datagram sent. Within one frame parity is of
    little use against runs of losses that are as long as the parity. Raises ValueError unless
    `loss` is 0..1 and `burst` at least 1.
    """
    if not 0.0 <= loss <= 1.0:
        raise ValueError(f'loss must be 0 to 1, got {loss}')
    if not burst >= 1.0:
        raise ValueError(f'burst must be at least 1, got {burst}')
    choices = range(max_parity(k) + 1)
    return max(choices, key=lambda m: (expected_share(k, m, loss, burst) / (k + m), -m))
