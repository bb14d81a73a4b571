"""
Measure how long a robot moves on when something goes wrong while it is driven.

Run ``python -m benchmarks.stop_latency`` (ten minutes), or with words that situations contain
(``flood``). Real processes over real topics; the times are those of publication on cmd_vel. The
limit is the command timeout, here 0.5 s, and 50 ms. Some situations need root.
The file is long because each situation is a function here.
"""

import argparse
import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rclpy
from geometry_msgs.msg import Twist
from rclpy.executors import SingleThreadedExecutor

from gsc_ros import start
from gsc_ros.dds import dds_environment
from gsc_ros.link.datagrams import key_file
from gsc_ros.ros import topics

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 0.5
LIMIT_S = TIMEOUT_S + 0.05
_PATIENCE_S = 120.0
_PERIOD_S = 0.05  # of commands
_NAMESPACE = 'stop_latency'

# A link whose disk does what a file says: nothing of that touches a real disk.
_FAULTY = """
import errno, os, sys, time
from gsc_ros.link.datagrams import keys

file, name = sys.argv[1:3]
del sys.argv[1:3]
keys.BLOCK = 50  # counts are set aside all the time

def spoil(real):
    def call(*args, **options):
        fault = open(file).read() if os.path.exists(file) else ''
        if fault == 'stall':
            time.sleep(600)
        elif fault:
            raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))
        return real(*args, **options)
    return call

os.fsync = spoil(os.fsync)
from gsc_ros import start
sys.exit(start.run(name))
"""
_PARENT = """
import json, sys
from gsc_ros import __main__ as runner

with runner.stop_on_signals() as stopping:
    commands = {('', name): words for name, words in json.loads(sys.argv[1]).items()}
    processes = runner.Processes(commands, sys.stdout)
    sys.exit(runner.supervise(processes, stopping))
"""


class Rig:
    """A guard, a link and an operator who drives; hears cmd_vel with the times of publication."""

    def __init__(
        self, folder: Path, link: str = 'link', parent: bool = False, level: str = 'info'
    ) -> None:
        self.folder, self.link, self._level = folder, link, level
        self.key = folder / 'link.key'
        self._own = tempfile.TemporaryDirectory()
        self.fault, self.log = (Path(self._own.name) / name for name in ('fault', 'log.txt'))
        if not self.key.exists():
            key_file.create(self.key)
        self.came: list[tuple[float, bool]] = []
        self.driving = False
        self._open = True
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('operator', context=self.context, namespace=_NAMESPACE)
        self.node.create_subscription(Twist, topics.CMD_VEL, self._on_velocity, 100)
        self._teleop = self.node.create_publisher(Twist, topics.TELEOP, topics.NEWEST)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads = [
            threading.Thread(target=one, daemon=True) for one in (self._executor.spin, self._drive)
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._start(parent)
        except BaseException:
            self.close()
            raise

    def _on_velocity(self, twist: Twist, info: 'MessageInfo') -> None:
        self.came.append((info['source_timestamp'] * 1e-9, bool(twist.linear.x)))

    def _drive(self) -> None:
        twist = Twist()
        twist.linear.x = 0.5
        while self._open:
            if self.driving:
                self._teleop.publish(twist)
            time.sleep(_PERIOD_S)

    def command(self, name: str, **parameters: object) -> list[str]:
        """Return the command line of a node."""
        words = [sys.executable, '-m', start.__name__, name]
        if name in ('link', 'link_robot'):
            words = [sys.executable, '-c', _FAULTY, str(self.fault), name]
        words += ['--ros-args', '-r', f'__ns:=/{_NAMESPACE}', '--log-level', self._level]
        for key, value in parameters.items():
            words += ['-p', f'{key}:={json.dumps(value)}']
        return words

    def _start(self, parent: bool) -> None:
        robot = {'profile': 'ideal', 'command_timeout_s': TIMEOUT_S, 'key_file': str(self.key)}
        commands = {'guard': self.command('guard')}
        if self.link == 'link_robot':
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(('127.0.0.1', 0))
                self.port = probe.getsockname()[1]
            # One key for both, but each has its own counts, as on two hosts.
            ground = self.folder / 'ground' / 'link.key'
            if not ground.exists():
                ground.parent.mkdir(mode=0o700)
                for name in ('link.key', 'link.key.counts'):
                    (ground.parent / name).write_bytes((self.folder / name).read_bytes())
                    (ground.parent / name).chmod(0o600)
            robot |= {'local': f'127.0.0.1:{self.port}'}
            commands['ground'] = self.command(
                'link_ground', profile='ideal', local='127.0.0.1:0', key_file=str(ground),
                remote=f'127.0.0.1:{self.port}',
            )  # fmt: skip
        commands['link'] = self.command(self.link, **robot)
        if parent:
            commands = {'parent': [sys.executable, '-c', _PARENT, json.dumps(commands)]}
        env = os.environ | dds_environment()
        with open(self.log, 'wb') as log:
            for name, words in commands.items():
                self.processes[name] = subprocess.Popen(
                    words, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
                )
        self.driving = True
        self.wait(lambda: self.moves, 'the robot does not move')
        time.sleep(0.5)

    @property
    def moves(self) -> bool:
        """Whether the last velocity moves the robot."""
        return bool(self.came) and self.came[-1][1]

    def wait(self, condition: Callable[[], object], why: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f'{why}\n{self.log.read_text()[-2000:]}')
            time.sleep(0.005)

    def send(self, name: str, number: int) -> float:
        """Send a signal to a process; returns when."""
        at = time.time()
        self.processes[name].send_signal(number)
        return at

    def end_commands(self) -> float:
        """Let the operator fall silent; returns when."""
        self.driving = False
        return time.time()

    def stopped(self, event: float, by_command: bool) -> float:
        """
        Return how long the robot moved on, in s.

        event: when something happened; by_command: count from the last velocity, not from that.
        """
        deadline = time.monotonic() + max(5.0, 4 * TIMEOUT_S)
        while time.monotonic() < deadline:
            came = sorted(self.came)
            zero = next((at for at, moving in came if at >= event and not moving), None)
            if zero is not None and time.time() > zero + 0.3:
                break
            time.sleep(0.01)
        else:
            return float('inf')
        if by_command:
            event = max((at for at, moving in came if moving and at < zero), default=event)
        return zero - event

    def close(self) -> None:
        """End everything; what was killed on purpose or is paused included."""
        self._open = self.driving = False
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._executor.shutdown()
        for thread in self._threads:
            thread.join(5)
        self.node.destroy_node()
        self.context.try_shutdown()
        self._own.cleanup()


# Situations


def silence(rig: Rig) -> float:
    """Let the operator fall silent."""
    return rig.end_commands()


def disk(fault: str) -> Callable[[Rig], float]:
    """Let the disk of the link fail, drive on for a while, and fall silent."""

    def happen(rig: Rig) -> float:
        rig.fault.write_text(fault)
        time.sleep(3.0)
        return rig.end_commands()

    return happen


def lock(rig: Rig) -> float:
    """Let another process hold the lock of the counts."""
    file = open(f'{rig.key}.lock', 'a')  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_EX)
    time.sleep(3.0)
    return rig.end_commands()


def removed(rig: Rig) -> float:
    """Remove the counts."""
    rig.key.with_name('link.key.counts').unlink()
    time.sleep(3.0)
    return rig.end_commands()


def open_to_all(rig: Rig) -> float:
    """Let others write the counts, which are refused then."""
    rig.key.with_name('link.key.counts').chmod(0o666)
    time.sleep(3.0)
    return rig.end_commands()


def mounted(change: str) -> Callable[[Rig], float]:
    """Fill the file system of the counts, or make it read-only; needs root."""

    def happen(rig: Rig) -> float:
        if change == 'full':
            with contextlib.suppress(OSError), open(rig.folder / 'rest', 'wb') as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        else:
            command = ['mount', '-o', 'remount,ro', str(rig.folder)]
            while subprocess.run(command, check=False, capture_output=True).returncode:
                time.sleep(0.01)  # a file is being written
        time.sleep(3.0)
        return rig.end_commands()

    return happen


def flood(rig: Rig) -> float:
    """Send datagrams of noise, as many as go, and fall silent amid them."""

    def send() -> None:
        noise = [random.randbytes(60) for _ in range(64)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while rig._open:
                for data in noise:
                    with contextlib.suppress(OSError):
                        out.sendto(data, ('127.0.0.1', rig.port))

    for _ in range(2):
        threading.Thread(target=send, daemon=True).start()
    time.sleep(2.0)
    return rig.end_commands()


def sends(name: str, number: int, silent: bool = False) -> Callable[[Rig], float]:
    """Send a signal to a process, and fall silent after it or not."""

    def happen(rig: Rig) -> float:
        at = rig.send(name, number)
        if silent:
            time.sleep(1.0)
            at = rig.end_commands()
        return at

    return happen


@dataclass(frozen=True)
class Situation:
    """What happens, and whether its time counts from the last velocity or from the event."""

    name: str
    happen: Callable[[Rig], float]
    by_command: bool
    link: str = 'link'
    parent: bool = False
    mount: bool = False
    level: str = 'info'


def situations() -> list[Situation]:
    """List what is measured."""
    found = [
        Situation(f'commands end ({link})', silence, True, link) for link in ('link', 'link_robot')
    ]
    for link in ('link', 'link_robot'):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
            hard = number in (signal.SIGKILL, signal.SIGSTOP)
            found.append(Situation(f'{number.name} of {link}', sends('link', number), hard, link))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
        found.append(Situation(f'{number.name} of guard', sends('guard', number), False))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        happen = sends('parent', number)
        found.append(Situation(f'{number.name} of the runner', happen, False, parent=True))
    happen = sends('parent', signal.SIGSTOP, silent=True)
    found.append(Situation('SIGSTOP of the runner, commands end', happen, True, parent=True))
    name = 'SIGSTOP of the runner, pipes of logs full, commands end'
    found.append(Situation(name, happen, True, parent=True, level='debug'))
    ended = {
        'fsync stalls': disk('stall'),
        'fsync fails, disk full': disk('ENOSPC'),
        'fsync fails, read-only': disk('EROFS'),
        'another process holds the lock': lock,
        'counts removed': removed,
        'counts open to all': open_to_all,
        'datagram flood': flood,
    }
    for name, happen in ended.items():
        found.append(Situation(f'{name}, commands end', happen, True, 'link_robot'))
    for change in ('full', 'read-only'):
        name = f'file system {change}, commands end'
        found.append(Situation(name, mounted(change), True, 'link_robot', mount=True))
    return found


@contextlib.contextmanager
def folder_for(situation: Situation) -> Iterator[Path]:
    """Give a folder for keys, on a small file system of its own where that is asked for."""
    with tempfile.TemporaryDirectory() as name:
        if not situation.mount:
            yield Path(name)
            return
        mount = ['mount', '-t', 'tmpfs', '-o', 'size=256k,mode=700', 'tmpfs', name]
        subprocess.run(mount, check=True, capture_output=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(['umount', '-l', name], check=True)


def measure(situation: Situation) -> float:
    """
    Return how long the robot moved on in a situation, s; infinite: it was not stopped.

    Raises ``CalledProcessError`` where a file system cannot be mounted.
    """
    with folder_for(situation) as folder:
        rig = Rig(folder, situation.link, situation.parent, situation.level)
        try:
            return rig.stopped(situation.happen(rig), situation.by_command)
        finally:
            rig.close()


def main() -> int:
    """Print the table; returns 1 where a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('words', nargs='*', help='only situations that contain one of them')
    parser.add_argument('--times', type=int, default=5)
    args = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randrange(100, 200)))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ |= dds_environment()
    print('| situation | counted from | min ms | median ms | max ms |\n|---|---|---|---|---|')
    kept = True
    for situation in situations():
        if args.words and not any(word in situation.name for word in args.words):
            continue
        try:
            took = [measure(situation) for _ in range(args.times)]
        except (subprocess.CalledProcessError, FileNotFoundError):
            print(f'| {situation.name} | not run: no file system can be mounted here | | | |')
            continue
        kept = kept and max(took) <= LIMIT_S
        since = 'last velocity' if situation.by_command else 'event'
        figures = (min(took), statistics.median(took), max(took))
        cells = ' | '.join(f'{1e3 * value:.0f}' for value in figures)
        print(f'| {situation.name} | {since} | {cells} |', flush=True)
    return 0 if kept else 1


if __name__ == '__main__':
    sys.exit(main())
