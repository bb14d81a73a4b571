"""The documents: their length, links, paths, commands and code, and the site made of them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from gsc_ros.cli import build_parser
from gsc_ros.codec import FrameDecoder, FrameEncoder
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.graph import GRAPHS
from gsc_ros.link.radio import budget, profiles

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')),
    ROOT / 'gsc_ros/models/weights/MODEL_CARD.md',
    *sorted((ROOT / 'docs').glob('*.md')),
]
FOLDERS = 'benchmarks|config|docs|gsc_ros|launch|msg|requirements|test|tools'
README_WORDS = 1200
SECTIONS = ['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security']

pages = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)


def blocks(text, language):
    """Return the fenced blocks of a language ('' for none) in a page."""
    return re.findall(rf'^```{language}\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


def without_blocks(text):
    return re.sub(r'^```.*?^```$', '', text, flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """Return the anchors that GitHub and MkDocs make of the headings."""
    headings = re.findall(r'^#+ (.*)$', without_blocks(page.read_text()), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', h).strip().lower().replace(' ', '-') for h in headings}


def gradient(width, height):
    """Make an image, uint8 (H, W, 3), with an edge: without one it shows nothing."""
    y, x = np.mgrid[:height, :width]
    channels = [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)]
    image = np.stack(channels, axis=2).astype(np.uint8)
    image[height // 3 : height // 2, width // 3 : width // 2] = 0
    return image


def commands():
    """Yield every command line in a block, continued lines joined, comments removed."""
    for page in PAGES:
        for block in blocks(page.read_text(), '(?:bash)?'):
            for line in re.sub(r'\\\n', ' ', block).splitlines():
                words = re.split(r'\s#\s', f'{line} ')[0].strip()
                if words:
                    yield page.name, words


def test_readme_is_short():
    words = (ROOT / 'README.md').read_text().split()
    assert sum(any(c.isalnum() for c in word) for word in words) <= README_WORDS


@pages
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r'\]\(([^)\s#:]*)(?:#([^)]*))?\)', page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), f'{target}#{anchor}'


@pages
def test_merges_are_finished(page):
    assert not re.search(r'^(<{7}|>{7}) ', page.read_text(), re.MULTILINE)


@pages
def test_paths_exist(page):
    """A path in backticks exists; `*` stands for any name, gsc_ros/Name for a message."""
    for span in re.findall(r'`([^`\n]+)`', without_blocks(page.read_text())):
        for path in re.findall(rf'(?<![\w/.-])((?:{FOLDERS})/[\w./*-]*)', span):
            message = re.fullmatch(r'gsc_ros/([A-Z]\w*)', path)
            wanted = f'msg/{message[1]}.msg' if message else path
            if wanted.startswith('config/') and '$(' in span:
                continue
            assert any(ROOT.glob(wanted.rstrip('/.'))), path


def test_modules_and_targets_exist():
    text = '\n'.join(page.read_text() for page in PAGES)
    for module in re.findall(r'python -m (benchmarks\.\w+|gsc_ros[\w.]*)', text):
        path = ROOT / module.replace('.', '/')
        assert path.with_suffix('.py').is_file() or (path / '__main__.py').is_file(), module
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    named = re.findall(r'`make ([\w-]+)`|^make ([\w-]+)', text, re.MULTILINE)
    assert named
    for one, other in named:
        assert (one or other) in targets


def test_gsc_commands_are_understood():
    parser = build_parser()
    found = [
        (page, part.strip())
        for page, line in commands()
        for part in line.replace('<<', '&&').split('&&')
        if re.match(r'(\w+=\S+ )*gsc ', part.strip())
    ]
    assert len(found) > 5
    for page, line in found:
        words = [w for w in shlex.split(line) if w != '...']
        words = words[words.index('gsc') + 1 :]
        for mark in ('>', '>>', '|'):
            words = words[: words.index(mark)] if mark in words else words
        try:
            parser.parse_args(words)
        except SystemExit as error:
            assert error.code == 0, f'{page}: {line}'


def test_launch_arguments_exist():
    known = {name for graph in GRAPHS.values() for name in graph.defaults()} | {'name', 'argument'}
    used = [
        (page, name)
        for page, line in commands()
        if re.search(r'ros2 launch|python -m gsc_ros|gsc demo', line)
        for name in re.findall(r'\b(\w+):=', line)
    ]
    assert len(used) > 10
    for page, name in used:
        assert name in known, f'{page}: {name}'


@pytest.mark.parametrize('page', ['README.md', 'docs/api.md'])
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """The blocks of a page run in order, in one namespace that has an image ``rgb``."""
    monkeypatch.chdir(tmp_path)
    found = blocks((ROOT / page).read_text(), 'python')
    assert found
    names = {'rgb': gradient(320, 240), '__name__': 'block'}
    for block in found:
        exec(compile(block, page, 'exec'), names)


def test_the_profile_of_contributing_works():
    (text,) = blocks((ROOT / 'CONTRIBUTING.md').read_text(), 'yaml')
    profile = profiles.from_mapping('mine', yaml.safe_load(text))
    assert budget.compute(profile).rate_bps == 250e3


def recipe(heading):
    """Run the block below a heading of CONTRIBUTING, and return its names."""
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    names: dict = {'__name__': 'recipe'}
    block = blocks(text[text.index(f'## {heading}') :], 'python')[0]
    exec(compile(block, heading, 'exec'), names)
    return names


def test_the_dataset_of_contributing_works(tmp_path):
    names = recipe('Add a dataset')
    assert not names['is_tum'](tmp_path)
    depth = np.full((4, 6), 5000, np.uint16)
    for folder, value in (('rgb', np.zeros((4, 6, 3), np.uint8)), ('depth', depth)):
        (tmp_path / folder).mkdir()
        Image.fromarray(value).save(tmp_path / folder / '1.png')
    assert names['is_tum'](tmp_path)
    (frame,) = names['read_tum'](tmp_path, 'val')
    assert frame.rgb().shape == (4, 6, 3) and (frame.depth() == 1).all()


def test_the_stream_of_contributing_works():
    names, encoder = recipe('Add a stream'), RangeEncoder()
    for light in range(4):
        names['write'](encoder, light)
    decoder = RangeDecoder(encoder.finish())
    assert [names['read'](decoder) for _ in range(4)] == [0, 1, 2, 3]


def test_the_renderer_of_contributing_works():
    renderer = recipe('Add a renderer')['Layout']()
    ground = FrameDecoder.load(weights='random', renderer=renderer)
    robot = FrameEncoder.load(weights='random')
    images = gradient(128, 96), gradient(128, 96)[::-1]
    frames = [ground.read(robot.encode(rgb, 60).data) for rgb in images]
    batch = ground.render(frames)
    for frame, decoded in zip(frames, batch, strict=True):
        assert decoded.rgb.shape == (96, 128, 3) and decoded.rgb.any()
        assert (ground.render([frame])[0].rgb == decoded.rgb).all()
        assert (ground.render([frame], 0)[0].rgb != decoded.rgb).any()


def test_changelog_has_one_line_an_entry():
    text = (ROOT / 'CHANGELOG.md').read_text()
    assert '## [Unreleased]' in text
    sections = re.findall(r'^### (.*)$', text[text.index('## [Unreleased]') :], re.MULTILINE)
    assert sections == sorted(sections, key=SECTIONS.index)
    for line in text[text.index('### ') :].splitlines():
        assert not line or line.startswith(('### ', '## ', '* ')), line
        assert len(line) <= 160, line


def test_site_builds_without_warnings_and_needs_no_internet(tmp_path):
    pytest.importorskip('material', reason='needs the extra docs')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', '-d', tmp_path],
        cwd=ROOT,
        env={'NO_MKDOCS_2_WARNING': '1', 'PATH': ''},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip()
    assert {'index.html', 'contributing.html', 'api.html'} <= {p.name for p in tmp_path.iterdir()}
    for path in tmp_path.rglob('*.html'):
        tags = re.findall(r'<(?:script|link|img|iframe)\b[^>]*', path.read_text())
        assert not [tag for tag in tags if re.search(r'(?:src|href)="?(?:https?:)?//', tag)]
