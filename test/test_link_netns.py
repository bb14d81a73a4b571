"""UDP between two network namespaces: a veth pair, with the kernel's own losses and delays."""

import json
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 60
# One end: sends 300-byte frames, ten a second, or takes them, for so long; tells what it saw.
CODE = """
import json, sys, time
from gsc_ros.link.traffic.end import End
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.traffic.reports import FrameStats, ReceiverStats
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.transports.udp import UdpTransport

local, remote, frames, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
transport, end = UdpTransport(local, remote), End(Schedule.constant(80_000.0), 100)
receiver_stats, shown = ReceiverStats(end.receiver), FrameStats()
print('ready', flush=True)
sys.stdin.readline()  # until both are
begin = time.monotonic()
offered, came, whole, commands = 0, 0, 0, 0
while (now := time.monotonic() - begin) < seconds:
    if offered < frames and now > offered * 0.1 + 0.5:
        end.offer(bytes([offered]) * 300, now)
        offered += 1
    for data, source in transport.receive(0.005):
        ours, received = end.push(data, now)
        if ours:
            transport.answer(source)
        for one in received:
            if one.traffic_class is TrafficClass.COMMAND:
                commands += 1
                continue
            assert one.payload == one.payload[:1] * len(one.payload)
            shown.on_frame(one.number)
            whole += not one.truncated
            end.offer(b'go', now, TrafficClass.COMMAND)
    end.expire(now)
    for data in end.outgoing(now):
        transport.send(data)
receiver_stats.update()
print(json.dumps({'came': shown.received, 'whole': whole,
                  'loss': receiver_stats.estimate.loss,
                  'frames': end.sender.counts[TrafficClass.FRAME].sent,
                  'sent': end.sent, 'commands': commands, 'malformed': end.receiver.malformed}))
"""


def run(*words):
    subprocess.run(words, check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Two namespaces, joined; skips where this user or kernel has none."""
    if not shutil.which('ip'):
        pytest.skip('no ip command (iproute2)')
    tag = uuid.uuid4().hex[:6]
    names = [f'gsc{tag}{end}' for end in 'rg']
    made = []
    try:
        for name in names:
            run('ip', 'netns', 'add', name)
            made.append(name)
        run('ip', 'link', 'add', 'air', 'netns', names[0], 'type', 'veth', 'peer', 'name', 'air',
            'netns', names[1])  # fmt: skip
        for number, name in enumerate(names, start=1):
            run('ip', '-n', name, 'addr', 'add', f'10.77.0.{number}/24', 'dev', 'air')
            run('ip', '-n', name, 'link', 'set', 'air', 'up')
    except (OSError, subprocess.CalledProcessError) as error:
        for name in made:
            subprocess.run(['ip', 'netns', 'del', name], check=False)
        pytest.skip(f'no network namespaces here: {getattr(error, "stderr", error)}')
    yield names
    for name in names:
        run('ip', 'netns', 'del', name)


@pytest.mark.parametrize(
    ('queue', 'loss'),
    [
        pytest.param('', (0.0, 0.0), id='clean'),
        pytest.param(
            'netem delay 100ms loss 20%', (0.1, 0.35), id='netem', marks=pytest.mark.slow
        ),
        # 34 kbps with the headers of UDP and IP do not fit: the kernel's queue runs over.
        pytest.param(
            'tbf rate 24kbit burst 600 limit 600', (0.1, 0.6), id='narrow', marks=pytest.mark.slow
        ),
    ],
)
def test_frames_and_commands_cross_between_namespaces(hosts, queue, loss):
    if queue and not shutil.which('tc'):
        pytest.skip('no tc command (iproute2)')
    for name in hosts if queue else ():
        words = ['tc', '-n', name, 'qdisc', 'add', 'dev', 'air', 'root', *queue.split()]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f'this kernel has no {queue.split()[0]}: {done.stderr.strip()}')
    sides = (('10.77.0.2:7447', '', '0', '10'), (':0', '10.77.0.2:7447', str(FRAMES), '9'))
    processes = []
    for name, words in zip(hosts[::-1], sides, strict=True):
        command = ['ip', 'netns', 'exec', name, sys.executable, '-c', CODE, *words]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        assert process.stdout.readline() == 'ready\n'
        processes.append(process)
    for process in processes:
        process.stdin.write('go\n')
        process.stdin.flush()
    ground, robot = (json.loads(process.communicate(timeout=60)[0]) for process in processes)
    print(ground, robot)
    assert ground['malformed'] == robot['malformed'] == 0
    assert loss[0] <= ground['loss'] <= loss[1]
    if queue:
        assert ground['came'] > 0.4 * FRAMES and robot['commands'] > 0.3 * FRAMES
    else:
        # A process that is held up cuts frames and leaves some out; nothing is lost on the way.
        assert ground['came'] == robot['frames'] > 0.5 * FRAMES
        assert robot['commands'] == ground['sent'] > 0.5 * FRAMES
        assert ground['whole'] > 0.5 * ground['came']


# A robot that starts before its network: its own address and the way to the ground come later.
EARLY = """
import sys, time
from gsc_ros.link.traffic.transports.udp import UdpTransport

transport = UdpTransport('10.77.0.9:7447', '10.77.0.2:7447')
print(transport.trouble, flush=True)
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    try:
        if not transport.trouble:
            transport.send(b'here')
    except OSError as error:
        print(error, file=sys.stderr)
    for data, _ in transport.receive(0.1):
        print(data.decode(), flush=True)
        sys.exit()
"""
ANSWER = """
from gsc_ros.link.traffic.transports.udp import UdpTransport

transport = UdpTransport('10.77.0.2:7447')
print('ready', flush=True)
while not transport.peer:
    for _, source in transport.receive(0.1):
        transport.answer(source)
transport.send(b'answer')
"""


def test_a_robot_finds_the_ground_when_its_network_comes_up(hosts):
    robot, ground = hosts
    run('ip', '-n', robot, 'link', 'set', 'air', 'down')
    pipe = subprocess.PIPE
    processes = []
    try:
        for name, code in ((ground, ANSWER), (robot, EARLY)):
            command = ['ip', 'netns', 'exec', name, sys.executable, '-c', code]
            processes.append(subprocess.Popen(command, cwd=ROOT, stdout=pipe, text=True))
        assert processes[0].stdout.readline() == 'ready\n'
        assert 'cannot listen on 10.77.0.9:7447' in processes[1].stdout.readline()
        run('ip', '-n', robot, 'addr', 'add', '10.77.0.9/24', 'dev', 'air')
        time.sleep(0.5)
        run('ip', '-n', robot, 'link', 'set', 'air', 'up')
        assert processes[1].communicate(timeout=40)[0] == 'answer\n'
    finally:
        for process in processes:
            process.kill()
            process.wait()
