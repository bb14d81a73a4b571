"""
What a modulation and its code let through: error rates over the signal's excess.

A curve is how the error rate falls with Eb/N0; where it stands follows from the profile, whose
threshold (`required_ebn0`, `required_snr`) is taken to be the point of one bit in 100,000. So what
counts is the *excess*: by how many dB the signal is above that threshold. A profile keeps a
margin, so that errors come when something takes it away, as a fade does.

Curves:

* uncoded BPSK and non-coherent FSK: Proakis, Digital Communications, 4th ed., ch. 5;
* convolutional (7, 1/2), soft decisions: the union bound with the path weights of Odenwalder,
  Optimal Decoding of Convolutional Codes (UCLA, 1970);
* the same within Reed-Solomon (255, 223), its bursts scattered by an interleaver;
* turbo and LDPC codes: the normal approximation of Polyanskiy, Poor and Verdu, Channel Coding Rate
  in the Finite Blocklength Regime, IEEE Trans. Information Theory 56(5), 2010, for the Gaussian
  channel: the steepness that the block length permits;
* LoRa: Elshabrawy and Robert, Closed-Form Approximation of LoRa Modulation BER Performance, IEEE
  Communications Letters 22(9), 2018, for SF7.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

_REFERENCE = 1e-5  # bit error rate at the threshold
# Union bound of the (7, 1/2) code: bits in error on all paths of weight d.
_WEIGHTS = {10: 36, 12: 211, 14: 1404, 16: 11_633, 18: 77_433, 20: 502_690, 22: 3_322_763}
_RS_SYMBOLS, _RS_DATA, _RS_BITS = 255, 223, 8
# Where a block is not decoded about this share of its bits is wrong.
WRONG_SHARE = 0.1


def _linear(db: float) -> float:
    return 10 ** (db / 10)


def _q(x: float) -> float:
    """Tail of the normal distribution."""
    return 0.5 * math.erfc(x / math.sqrt(2))


def _uncoded(ebn0_db: float) -> float:
    return _q(math.sqrt(2 * _linear(ebn0_db)))


def _fsk(ebn0_db: float) -> float:
    return 0.5 * math.exp(-_linear(ebn0_db) / 2)


def _convolutional(ebn0_db: float) -> float:
    symbol = _linear(ebn0_db)  # 2 x rate 1/2 x Eb/N0
    return min(0.5, sum(c * _q(math.sqrt(d * symbol)) for d, c in _WEIGHTS.items()))


def _concatenated(ebn0_db: float) -> float:
    inner = _convolutional(ebn0_db + 10 * math.log10(_RS_DATA / _RS_SYMBOLS))
    # The inner code errs in bursts: of a wrong symbol about every second bit is wrong.
    symbol = 2 * inner
    if symbol >= 1:
        return inner
    mends = (_RS_SYMBOLS - _RS_DATA) // 2
    wrong = sum(
        i * math.comb(_RS_SYMBOLS, i) * symbol**i * (1 - symbol) ** (_RS_SYMBOLS - i)
        for i in range(mends + 1, _RS_SYMBOLS + 1)
    )
    return wrong / _RS_SYMBOLS / 2


def _lora(snr_db: float, spreading_factor: int = 7) -> float:
    chips = 2 ** (spreading_factor + 1)
    return 0.5 * _q(
        math.sqrt(_linear(snr_db) * chips) - math.sqrt(1.386 * spreading_factor + 1.154)
    )


def _block(rate: float, bits: int) -> Callable[[float], float]:
    """Bit error rate of the best code of a rate and of so many bits a block."""

    def error_rate(ebn0_db: float) -> float:
        snr, uses = 2 * rate * _linear(ebn0_db), bits / rate
        capacity = 0.5 * math.log2(1 + snr)
        dispersion = snr * (snr + 2) / (2 * (snr + 1) ** 2) * math.log2(math.e) ** 2
        spare = uses * capacity - bits + 0.5 * math.log2(uses)
        return WRONG_SHARE * _q(spare / math.sqrt(uses * dispersion))

    return error_rate


@dataclass(frozen=True)
class Code:
    """
    A modulation with its code.

    ``error_rate``: of bits over Eb/N0 in dB (of LoRa over the SNR); ``block_bits``: bits that are
    decoded together, and are right or wrong together; 0 where every bit is on its own.
    """

    error_rate: Callable[[float], float]
    block_bits: int = 0

    def bits_wrong(self, excess_db: float) -> float:
        """Return the share of wrong bits (0..0.5) at an excess over the threshold, dB."""
        return _bits_wrong(self, excess_db)

    def datagrams_hit(self, excess_db: float, size: int) -> float:
        """Return the share (0..1) of datagrams of ``size`` bytes that have a wrong bit."""
        wrong, bits = self.bits_wrong(excess_db), 8 * size
        if self.block_bits:
            # It lies in one block and over the borders of others.
            blocks = 1 + bits / self.block_bits
            return 1 - (1 - min(1.0, wrong / WRONG_SHARE)) ** blocks
        return -math.expm1(bits * math.log1p(-wrong))


@lru_cache(1 << 12)
def _bits_wrong(code: Code, excess_db: float) -> float:
    if excess_db == math.inf:
        return 0.0
    return code.error_rate(_threshold_db(code) + max(excess_db, -60.0))


@cache
def _threshold_db(code: Code) -> float:
    """Eb/N0 at which a code has the error rate of reference."""
    low, high = -30.0, 40.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if code.error_rate(middle) > _REFERENCE else (low, middle)
    return high


CODES = {
    'uncoded': Code(_uncoded),
    'fsk': Code(_fsk),
    'conv_7_1_2': Code(_convolutional),
    'rs_255_223_conv': Code(_concatenated, _RS_DATA * _RS_BITS),
    'turbo_1_2': Code(_block(1 / 2, 8920), 8920),
    'turbo_1_3': Code(_block(1 / 3, 8920), 8920),
    'turbo_1_4': Code(_block(1 / 4, 8920), 8920),
    'turbo_1_6': Code(_block(1 / 6, 8920), 8920),
    'ldpc_1_2_1024': Code(_block(1 / 2, 1024), 1024),
    'ldpc_1_2_16384': Code(_block(1 / 2, 16_384), 16_384),
    'lora_sf7': Code(_lora),
}
