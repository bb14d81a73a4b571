"""A page that is open for an hour, by a clock that the test turns: nothing of it grows."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('starlette', reason='needs the extra console')
pytest.importorskip('uvicorn', reason='needs the extra console')

import browser

from gsc_ros.console.access import Access
from gsc_ros.console.files import Files
from gsc_ros.console.server import Server, Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browser.find() is None,
        reason='no Chromium: `sh tools/system_packages.sh browser` installs it',
    ),
]
SCRIPT = Path(__file__).with_name('hour.js').read_text()
WARM_MIN, ALL_MIN = 12, 60  # the charts hold ten minutes
MOST_GROWTH = 200_000  # bytes of JavaScript's heap in 48 minutes


class Site:
    """Says nothing: the page has a console of its own."""

    def opened(self, viewer, address):
        return []

    def heard(self, viewer, word):
        return []

    def gone(self, viewer):
        pass


def measure(page):
    """Return the heap in use (bytes), and the numbers of nodes, listeners and timers."""
    page.call('HeapProfiler.collectGarbage')
    heap = page.call('Runtime.getHeapUsage')['usedSize']
    counts = page.call('Memory.getDOMCounters')
    return heap, (counts['nodes'], counts['jsEventListeners'], page.run('timersHeld()'))


def test_a_page_that_is_open_for_an_hour_does_not_grow(tmp_path):
    server = Server(
        Settings(port=0), Access('127.0.0.1', None, 1e6, 1e6), Site(), Files(tmp_path / 'kept')
    )
    server.start()
    page = browser.Chromium(tmp_path / 'browser')
    try:
        page.call('Page.addScriptToEvaluateOnNewDocument', source=SCRIPT)
        page.go(server.url)
        picture = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
        file = json.dumps(cv2.imencode('.png', picture)[1].ravel().tolist())
        page.run(f'window.file = new Uint8Array({file}); 0')
        for kind in '12345':
            page.tap(kind)
        measured = {}
        for minute in range(1, ALL_MIN + 1):
            assert page.run_async('pass(60, window.file)') == pytest.approx(60 * minute)
            if minute in (WARM_MIN, ALL_MIN):
                measured[minute] = measure(page)
        (warm, counted), (end, at_end) = measured[WARM_MIN], measured[ALL_MIN]
        print(f'heap {warm} B after {WARM_MIN} min, {end} B at the end; {counted}, {at_end}')
        assert end - warm < MOST_GROWTH
        # Lines of troubles come and go.
        assert all(b <= a + 25 for a, b in zip(counted, at_end, strict=True))
        assert page.run('window.opened') == 1, 'the connection was kept'
        assert page.run('window.filesHeld') == 1, 'that of the last still'
        assert page.text('connection') == 'connected'
        page.run('window.behind = true')  # states come, and answers stay away
        page.run_async('pass(10, window.file)')
        assert page.text('connection') == 'no connection'
        assert 'does not answer' in page.text('banner')
        assert not page.errors
    finally:
        page.close()
        server.close()
