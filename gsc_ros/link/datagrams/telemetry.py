"""
How the robot is, in a few bytes: the payload of traffic class TELEMETRY.

A payload is items, each an id (1 byte), a length (1 byte) and its content, big-endian. Of an id
that is not known here the length is enough to go on::

    1 mount        where the camera is on the robot: x, y, z in m and the quaternion x, y, z, w
                   (7 float32), length of the camera's frame_id (1), it, the robot's frame
    2 battery      charge in 1/254 (255: unknown), voltage in 20 mV, current in 50 mA (int16),
                   temperature in degrees Celsius (int8), status of the supply, its health (4 bits
                   each)
    3 mode         text
    4 joint names  joined by line feeds
    5 joints       CRC-8 of the names' item, positions in 1/1000 rad or m (int16)

Where the camera is and how joints are called seldom changes: these items come on change, when the
ground begins, and now and then again.
"""

import binascii
import math
import struct
from dataclasses import dataclass, replace

from gsc_ros.link.datagrams.payloads import PayloadError

MAX_ITEM = 255  # bytes of its content
MAX_MODE_BYTES = 32
MAX_JOINTS = 32
_MOUNT, _BATTERY, _MODE, _NAMES, _JOINTS = range(1, 6)
_MOUNT_HEAD = struct.Struct('>7fB')
_BATTERY_FORM = struct.Struct('>BHhbB')
_CHARGE_STEPS, _NO_CHARGE = 254, 255
_VOLT_STEPS, _NO_VOLTAGE = 50, 0xFFFF
_AMPERE_STEPS, _NO_CURRENT = 20, -0x8000
_NO_TEMPERATURE = -0x80
_JOINT_STEPS, _NO_POSITION = 1000, -0x8000


@dataclass(frozen=True)
class Mount:
    """Where the camera's frame is on the robot: m, and a quaternion x, y, z, w."""

    base: str
    camera: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]

    def pack(self) -> bytes:
        """Return the content; raises ``ValueError`` for names that are too long."""
        camera, base = self.camera.encode(), self.base.encode()
        if len(camera) + len(base) > MAX_ITEM - _MOUNT_HEAD.size:
            raise ValueError(f'frames {self.camera} and {self.base} have names that are too long')
        return _MOUNT_HEAD.pack(*self.position, *self.orientation, len(camera)) + camera + base

    @classmethod
    def unpack(cls, data: bytes) -> 'Mount':
        """Read the content; raises ``ValueError`` or ``struct.error``."""
        *numbers, size = _MOUNT_HEAD.unpack_from(data)
        names = data[_MOUNT_HEAD.size :]
        if len(names) < size or not all(map(math.isfinite, numbers)):
            raise ValueError('a name or a number is missing')
        if math.hypot(*numbers[3:]) < 0.5:
            raise ValueError('a quaternion of zeros')
        x, y, z, i, j, k, w = numbers
        return cls(names[size:].decode(), names[:size].decode(), (x, y, z), (i, j, k, w))


@dataclass(frozen=True)
class Battery:
    """
    State of a battery, as in sensor_msgs/BatteryState; NaN is unknown.

    ``charge`` 0..1 in steps of 1/254; ``voltage`` 0..1310 V in 20 mV; ``current`` within 1638 A
    both ways in 50 mA; ``temperature`` within 127 degrees Celsius; ``status`` and ``health``
    0..15.
    """

    charge: float = math.nan
    voltage: float = math.nan
    current: float = math.nan
    temperature: float = math.nan
    status: int = 0
    health: int = 0

    def pack(self) -> bytes:
        """Return the content; numbers out of range are the next that can be sent."""
        return _BATTERY_FORM.pack(
            _steps(self.charge, _CHARGE_STEPS, 0, _CHARGE_STEPS, _NO_CHARGE),
            _steps(self.voltage, _VOLT_STEPS, 0, _NO_VOLTAGE - 1, _NO_VOLTAGE),
            _steps(self.current, _AMPERE_STEPS, -0x7FFF, 0x7FFF, _NO_CURRENT),
            _steps(self.temperature, 1, -0x7F, 0x7F, _NO_TEMPERATURE),
            min(self.status, 15) << 4 | min(self.health, 15),
        )

    @classmethod
    def unpack(cls, data: bytes) -> 'Battery':
        """Read the content; raises ``struct.error``."""
        charge, voltage, current, temperature, flags = _BATTERY_FORM.unpack(data)
        return cls(
            math.nan if charge == _NO_CHARGE else charge / _CHARGE_STEPS,
            math.nan if voltage == _NO_VOLTAGE else voltage / _VOLT_STEPS,
            math.nan if current == _NO_CURRENT else current / _AMPERE_STEPS,
            math.nan if temperature == _NO_TEMPERATURE else float(temperature),
            flags >> 4,
            flags & 15,
        )


def _steps(value: float, steps: int, low: int, high: int, unknown: int) -> int:
    if math.isnan(value):
        return unknown
    return round(min(max(value * steps, low), high))


@dataclass(frozen=True)
class Telemetry:
    """
    What a payload states; None is not stated.

    ``names``, ``positions``: of joints, in rad or m in steps of 1/1000 and within 32.767 both
    ways, NaN where unknown; a payload with positions alone leaves the names to the receiver.
    ``check``: of the names that positions belong to.
    """

    mount: Mount | None = None
    battery: Battery | None = None
    mode: str | None = None
    names: tuple[str, ...] | None = None
    positions: tuple[float, ...] | None = None
    check: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is stated; names of joints alone are nothing."""
        stated = (self.mount, self.battery, self.mode, self.positions)
        return all(one is None for one in stated)

    @property
    def frequent(self) -> 'Telemetry':
        """What of it changes often."""
        return replace(self, mount=None, names=None)

    def differs(self, other: 'Telemetry | None') -> bool:
        """Whether it is not the same on air."""
        return other is None or self.pack() != other.pack()

    def pack(self) -> bytes:
        """Return the bytes, none for nothing; raises ``ValueError`` for names too long."""
        items: list[tuple[int, bytes]] = []
        if self.mount is not None:
            items.append((_MOUNT, self.mount.pack()))
        if self.battery is not None:
            items.append((_BATTERY, self.battery.pack()))
        if self.mode is not None:
            text = self.mode.encode()[:MAX_MODE_BYTES].decode(errors='ignore')
            items.append((_MODE, text.encode()))
        if self.names is not None:
            items.append((_NAMES, pack_names(self.names)))
        if self.positions is not None:
            steps = (
                _steps(x, _JOINT_STEPS, -0x7FFF, 0x7FFF, _NO_POSITION) for x in self.positions
            )
            form = f'>B{len(self.positions)}h'
            items.append((_JOINTS, struct.pack(form, self.check, *steps)))
        return b''.join(bytes([number, len(content)]) + content for number, content in items)

    @classmethod
    def unpack(cls, payload: bytes) -> 'Telemetry':
        """Read a payload; items that are not known are left out. Raises ``PayloadError``."""
        found: dict[int, bytes] = {}
        at = 0
        try:
            while at < len(payload):
                number, size = payload[at], payload[at + 1]
                content = payload[at + 2 : at + 2 + size]
                if len(content) < size or number in found:
                    raise ValueError('items do not end within it, or one comes twice')
                found[number], at = content, at + 2 + size
            mount, battery, mode, joined, joints = (found.get(i) for i in range(1, 6))
            names = None if joined is None else tuple(joined.decode().split('\n'))
            if names is not None and len(names) > MAX_JOINTS:
                raise ValueError(f'it names {len(names)} joints, {MAX_JOINTS} at most')
            positions = None
            check = 0
            if joints is not None:
                check, *steps = struct.unpack(f'>B{(len(joints) - 1) // 2}h', joints)
                positions = tuple(
                    math.nan if step == _NO_POSITION else step / _JOINT_STEPS for step in steps
                )
            return cls(
                None if mount is None else Mount.unpack(mount),
                None if battery is None else Battery.unpack(battery),
                None if mode is None else mode.decode(),
                names,
                positions,
                check,
            )
        except (IndexError, struct.error, ValueError) as error:
            raise PayloadError(f'not telemetry: {error}') from None


def pack_names(names: tuple[str, ...]) -> bytes:
    """Return the item of names; raises ``ValueError`` where they are too many or too long."""
    data = '\n'.join(names).encode()
    if len(names) > MAX_JOINTS or len(data) > MAX_ITEM:
        raise ValueError(
            f'{len(names)} joints with names of {len(data)} bytes: name {MAX_JOINTS} at most, of '
            f'{MAX_ITEM} bytes together'
        )
    return data


def check_of(names: tuple[str, ...]) -> int:
    """Return the CRC-8 that positions name their names by."""
    return binascii.crc_hqx(pack_names(names), 0xFFFF) >> 8
