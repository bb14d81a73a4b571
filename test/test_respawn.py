"""A node that ends is started again, ever more seldom; one that cannot begin ends the graph."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gsc_ros.respawn import FIRST_S, MOST_S, SOUND_S, Respawn, cause
from gsc_ros.start import NOT_BEGUN

ROOT = Path(__file__).resolve().parent.parent
CRASH = -signal.SIGSEGV


@pytest.mark.parametrize('code', [0, 2, os.EX_SOFTWARE, CRASH, -signal.SIGKILL, -signal.SIGTERM])
def test_whatever_ends_it_it_is_started_again_ever_more_seldom(code):
    respawn = Respawn()
    delays = [respawn.after(code, 0.1) for _ in range(10)]
    assert delays[0] == FIRST_S
    assert delays[-3:] == [MOST_S] * 3
    assert all(b == min(2 * a, MOST_S) for a, b in itertools.pairwise(delays))


def test_a_process_that_ran_long_is_started_again_as_soon_as_at_first():
    respawn = Respawn()
    assert [respawn.after(CRASH, 1.0) for _ in range(3)][-1] > FIRST_S
    assert respawn.after(CRASH, SOUND_S) == FIRST_S
    assert respawn.after(CRASH, 1.0) == 2 * FIRST_S


def test_a_node_that_cannot_begin_ends_the_graph_unless_it_ran_before():
    assert Respawn().after(NOT_BEGUN, 5.0) is None
    respawn = Respawn()
    respawn.after(CRASH, 5.0)
    # The same parameters served before: a device or a disk may come back.
    assert respawn.after(NOT_BEGUN, 5.0) == 2 * FIRST_S


@pytest.mark.parametrize('code', [0, NOT_BEGUN, CRASH])
def test_unwanted_it_ends_the_graph_at_any_end(code):
    assert Respawn(wanted=False).after(code, 1000.0) is None


@pytest.mark.parametrize(
    ('code', 'printed'),
    [
        (3, 'has ended with exit code 3'),
        (-9, 'was ended by SIGKILL'),
        (-99, 'was ended by signal 99'),
    ],
)
def test_the_cause_is_named(code, printed):
    assert cause(code) == printed


@pytest.mark.parametrize(
    ('body', 'code'),
    [
        ('def main(args): raise ZeroDivisionError', os.EX_SOFTWARE),
        ('def main(args): return 1', NOT_BEGUN),
        ('def main(args): raise SystemExit("no such file")', NOT_BEGUN),
        ('import nosuch', NOT_BEGUN),
    ],
)
def test_exit_codes_tell_what_cannot_begin_from_what_fails_later(tmp_path, body, code):
    (tmp_path / 'fake.py').write_text(body)
    words = [sys.executable, '-c', f"""
import sys
from gsc_ros import start
def load(name):
    sys.path.insert(0, {str(tmp_path)!r})
    import fake
    return fake
start.import_module = load
sys.exit(start.run('link'))
"""]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code
    assert any(s in done.stderr for s in ('Zero', 'no such', 'nosuch')) or 'return' in body
