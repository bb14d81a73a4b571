"""`gsc demo`: what it starts, when it ends, and what it never deletes."""

import sys

import pytest

from gsc_ros import __main__ as runner
from gsc_ros.cli import main
from gsc_ros.commands import demo
from gsc_ros.commands.demo import StatusLine

LINE = 'frame age   1.2 s | lab: 9.00 kbps offered'
IDLE = 'import time; time.sleep(60)'
MONITOR = f"""
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    while True:
        print('{LINE}', flush=True)
        time.sleep(0.1)
except KeyboardInterrupt:
    (folder / 'summary.md').write_text('# A run of the link')
"""


@pytest.fixture
def graph_of(monkeypatch):
    """Put small programs in the place of nodes; gives the command lines that were asked for."""

    def prepare(**programs):
        asked, real = {}, runner.command

        def command(graph, node, values):
            asked[node.executable] = real(graph, node, values)
            code = programs.get(node.executable, IDLE)
            return [sys.executable, '-c', code, values.get('output', '')]

        monkeypatch.setattr(runner, 'command', command)
        return asked

    return prepare


def test_a_run_ends_after_its_time_and_shows_its_summary(graph_of, tmp_path, capsys):
    asked = graph_of(monitor=MONITOR)
    folder = tmp_path / 'run'
    words = ['demo', '--seconds', '0.3', '--output', str(folder), 'link:=ideal', 'scene:=rover']
    assert main(words) == 0
    assert set(asked) == {'camera', 'encoder', 'link', 'guard', 'decoder', 'monitor'}
    assert f'output:="{folder}"' in asked['monitor']
    assert 'profile:="ideal"' in asked['link']
    assert 'scene:="rover"' in asked['camera']
    printed = capsys.readouterr().out
    assert LINE in printed
    assert '# A run of the link' in printed
    assert main(words) == 0  # over the record of the last


@pytest.mark.parametrize(('ended', 'code'), [(3, 3), (0, 1)])
def test_a_node_that_ends_ends_the_run(graph_of, tmp_path, capsys, ended, code):
    graph_of(decoder=f'raise SystemExit({ended})')
    assert main(['demo', '--output', str(tmp_path / 'run')]) == code
    assert f'decoder has ended with exit code {ended}' in capsys.readouterr().err


def test_no_image_in_time_is_a_failure(graph_of, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, '_START_S', 0.2)
    graph_of()
    assert main(['demo', '--output', str(tmp_path / 'run')]) == 1
    assert 'no image came' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'output_text'),
    [
        (['source:=webcam'], 'source:=webcam: give one of sim'),
        (['source:=images'], 'path:='),
        (['sauce:=sim'], "unknown argument 'sauce'"),
        (['sim'], 'name:=value'),
        (['--seconds', '0'], '--seconds 0'),
        (['--seconds', 'nan'], '--seconds nan'),
    ],
)
def test_mistakes_are_reported_in_a_line(graph_of, tmp_path, capsys, words, output_text):
    asked = graph_of()
    assert main(['demo', '--output', str(tmp_path / 'run'), *words]) == 2
    assert output_text in capsys.readouterr().err
    assert not asked


def record(folder):
    """Leave what a run leaves, an unfinished one without its summary."""
    (folder / 'bag').mkdir(parents=True)
    (folder / 'bag' / 'bag.mcap').write_bytes(b'')
    (folder / 'frame_0001.png').write_bytes(b'')


@pytest.mark.parametrize('finished', [True, False])
def test_an_old_record_is_replaced(tmp_path, finished):
    record(tmp_path / 'run')
    if finished:
        (tmp_path / 'run' / 'summary.json').write_text('{}')
    demo.clear(tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
    demo.clear(tmp_path / 'run')


def test_files_of_others_are_never_deleted(graph_of, tmp_path, capsys):
    asked = graph_of()
    record(tmp_path)
    (tmp_path / 'summary.json').write_text('{}')
    (tmp_path / 'thesis.tex').write_text('three years of work')
    assert main(['demo', '--output', str(tmp_path)]) == 2
    assert 'thesis.tex' in capsys.readouterr().err
    assert main(['demo', '--output', str(tmp_path / 'thesis.tex')]) == 2
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / 'thesis.tex').read_text() == 'three years of work'
    assert not asked


def test_the_line_waits_for_an_image_and_lets_warnings_through(capsys):
    line = StatusLine()
    line.write('[monitor] waiting for the link\n')
    line.write('[monitor] frame age   nan s | lab: 0.00 kbps offered\n')
    line.write('[camera] [INFO] [1.0] [camera]: hello\n')
    line.write('[console] [INFO] [1.0] [console]: the console is at http://127.0.0.1:8080/\n')
    line.write('[encoder] [WARN] [1.0] [encoder]: image dropped\n')
    assert not line.running.is_set()
    line.write(f'[monitor] {LINE}\n')
    assert line.running.is_set()
    printed = capsys.readouterr().out.splitlines()
    assert 'hello' not in ''.join(printed) and ':8080/' in ''.join(printed)
    assert printed[0] == '[monitor] waiting for the link'
    assert printed[-2:] == [
        '[encoder] [WARN] [1.0] [encoder]: image dropped',
        f'[monitor] {LINE}',
    ]
