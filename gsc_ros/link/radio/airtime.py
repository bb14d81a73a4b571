"""
Time on air of a datagram: what a radio sends besides its bytes.

The time is given in bits at the radio's rate. Most
radios have a constant bit rate (`PLAIN`); their preambles are part of a profile's ``packet_gap``.
A LoRa modem sends a preamble, a header and whole blocks of coded bits::

    T = Ts (n_preamble + 4.25 + 8 + ceil((8 n + 16 - 4 SF + 28) / (4 (SF - 2 DE))) (CR + 4))
    Ts = 2^SF / BW

with an explicit header and the CRC of the payload, as datagrams of many lengths need them; DE is 1
where a symbol takes more than 16 ms. Sources: Semtech AN1200.13, LoRa Modem Designer's Guide,
section 4; SX1276 datasheet, section 4.1.1.7; for SF5 and SF6, SX1261/2 datasheet, section 6.1.4.
"""

import math
from dataclasses import dataclass

_HEADER_SYMBOLS = 8  # that every packet has: the header, and the first bits of the payload
_HEADER_BITS, _CRC_BITS = 20, 16
_LONG_SYMBOL_S = 16e-3  # above which the modem has to spend two bits of a symbol (DE)
LORA_MAX_BYTES = 255
# Bytes of a datagram: the least that framing leaves room in, and what UDP over IPv4 carries.
MIN_MTU, MAX_MTU = 50, 65507


@dataclass(frozen=True)
class OnAir:
    """
    What datagrams take on air, in bits at the radio's rate.

    ahead_bits: preamble and header; extra_bits: coded along with the bytes, below zero where some
    of them go in the header; block_bits: bytes and extra bits fill blocks of so many (1: any).
    """

    ahead_bits: float = 0.0
    extra_bits: int = 0
    block_bits: int = 1

    def bits(self, size: int) -> float:
        """Bits of a datagram of so many bytes."""
        blocks = -(-max(0, 8 * size + self.extra_bits) // self.block_bits)
        return self.ahead_bits + blocks * self.block_bits

    @property
    def fixed_bits(self) -> float:
        """Where the straight line of 8 bits a byte begins that `bits` touch and never exceed."""
        filling = self.block_bits - math.gcd(8, self.block_bits, self.extra_bits)
        return self.ahead_bits + self.extra_bits + filling


PLAIN = OnAir()


def lora(spreading_factor: int, bandwidth_hz: float, coding_rate: float, preamble: float) -> OnAir:
    """Return what a datagram of a LoRa modem takes; ``preamble``: symbols that are programmed."""
    early = spreading_factor < 7
    symbols = preamble + (6.25 if early else 4.25) + _HEADER_SYMBOLS
    room = _symbol_bits(spreading_factor, bandwidth_hz)
    return OnAir(
        symbols * room * coding_rate,
        _CRC_BITS + _HEADER_BITS + (0 if early else 8) - 4 * spreading_factor,
        4 * room,
    )


def lora_rate_bps(spreading_factor: int, bandwidth_hz: float, coding_rate: float) -> float:
    """LoRa bit rate SF x BW / 2^SF x CR (Semtech AN1200.22, section 4.1), SF less 2 with DE."""
    symbol_s = 2**spreading_factor / bandwidth_hz
    return _symbol_bits(spreading_factor, bandwidth_hz) / symbol_s * coding_rate


def _symbol_bits(spreading_factor: int, bandwidth_hz: float) -> int:
    slow = 2**spreading_factor / bandwidth_hz > _LONG_SYMBOL_S
    return spreading_factor - 2 * slow
