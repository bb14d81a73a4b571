"""A headless Chromium, driven over its DevTools protocol: no driver program and no network."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from websockets.sync.client import connect

PATIENCE_S = 60.0
NAMES = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'
KEYS = {'w': ('KeyW', 87), 't': ('KeyT', 84), '1': ('Digit1', 49), '2': ('Digit2', 50),
        '4': ('Digit4', 52), 'Escape': ('Escape', 27),
        'Tab': ('Tab', 9), 'Enter': ('Enter', 13), '3': ('Digit3', 51),
        '5': ('Digit5', 53), '6': ('Digit6', 54), 'g': ('KeyG', 71), 'c': ('KeyC', 67),
        'ArrowDown': ('ArrowDown', 40), 'r': ('KeyR', 82),
        'Backspace': ('Backspace', 8)}  # fmt: skip


def find():
    """Return the path of a browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One page of a browser with a profile of its own."""

    def __init__(self, folder, size=(1280, 800)):
        self._process = subprocess.Popen(
            [find(), '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
             '--disable-dev-shm-usage', '--disable-extensions', '--disable-background-networking',
             '--remote-debugging-port=0', f'--user-data-dir={folder}', 'about:blank'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, 'HOME': str(folder)},
        )  # fmt: skip
        try:
            place = Path(folder, 'DevToolsActivePort')
            wait(lambda: place.exists() and len(place.read_text().split()) == 2, 'the browser')
            port, path = place.read_text().split()
            self._ws = connect(f'ws://127.0.0.1:{port}{path}', max_size=None).__enter__()
            self._numbers, self._session, self.errors = itertools.count(1), None, []
            target = self.call('Target.createTarget', url='about:blank')['targetId']
            answer = self.call('Target.attachToTarget', targetId=target, flatten=True)
            self._session = answer['sessionId']
            for domain in ('Page', 'Runtime', 'Log'):
                self.call(f'{domain}.enable')
            self.resize(size)
        except BaseException:
            self.close()
            raise

    def call(self, method, **params):
        """Call a method of the protocol; returns its result."""
        number = next(self._numbers)
        message = {'id': number, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        self._ws.send(json.dumps(message))
        while True:
            answer = json.loads(self._ws.recv(timeout=PATIENCE_S))
            if answer.get('id') == number:
                assert 'error' not in answer, answer
                return answer['result']
            name, body = answer.get('method'), answer.get('params', {})
            if name == 'Runtime.exceptionThrown':
                self.errors.append(body['exceptionDetails'])
            elif name == 'Log.entryAdded' and body['entry']['level'] == 'error':
                self.errors.append(body['entry'])

    def resize(self, size, scale=1):
        """Set the size of the page in CSS pixels."""
        self.call('Emulation.setDeviceMetricsOverride', width=size[0], height=size[1],
                  deviceScaleFactor=scale, mobile=False)  # fmt: skip

    def scheme(self, name):
        """Prefer 'dark' or 'light'."""
        features = [{'name': 'prefers-color-scheme', 'value': name}]
        self.call('Emulation.setEmulatedMedia', features=features)

    def go(self, url):
        """Open a page, and wait until it is there."""
        self.call('Page.navigate', url=url)
        self.wait('document.readyState === "complete" && location.href !== "about:blank"')

    def run(self, script):
        """Return the value of an expression on the page."""
        answer = self.call('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def run_async(self, script):
        """Return what the promise of an expression becomes."""
        answer = self.call(
            'Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True
        )
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def text(self, name):
        """Return the text of the element with an id."""
        return self.run(f'document.getElementById({name!r}).textContent')

    def wait(self, script, every=lambda: None):
        """Wait until an expression is true; ``every``: done before each look."""

        def done():
            every()
            return self.run(f'Boolean({script})')

        wait(done, script)

    def key(self, name, down=True):
        """Press or let go of a key."""
        code, number = KEYS[name]
        kind = ('rawKeyDown' if len(name) > 1 else 'keyDown') if down else 'keyUp'
        more = {'text': name} if down and len(name) == 1 else {}
        if name == 'Enter' and down:
            kind, more = 'keyDown', {'text': '\r'}
        self.call('Input.dispatchKeyEvent', type=kind, key=name, code=code,
                  windowsVirtualKeyCode=number, **more)  # fmt: skip

    def tap(self, name):
        """Press and let go of a key."""
        self.key(name)
        self.key(name, down=False)

    def mouse(self, kind, x, y):
        """Move, press or release the mouse."""
        self.call('Input.dispatchMouseEvent', type=f'mouse{kind}', x=x, y=y, button='left',
                  buttons=int(kind != 'Released'), clickCount=1)  # fmt: skip

    def place(self, name, x=0.5, y=0.5):
        """Return a point of an element, in shares of its size."""
        box = f'document.getElementById({name!r}).getBoundingClientRect()'
        left, top, width, height = self.run(f'(b => [b.left, b.top, b.width, b.height])({box})')
        return left + x * width, top + y * height

    def click(self, name):
        """Click on an element."""
        self.run(f'document.getElementById({name!r}).scrollIntoView({{block: "center"}})')
        x, y = self.place(name)
        self.mouse('Pressed', x, y)
        self.mouse('Released', x, y)

    def screenshot(self, path):
        """Keep what the page looks like."""
        data = self.call('Page.captureScreenshot', format='png')['data']
        Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def wait(condition, why=''):
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f'waited in vain: {why}'
        time.sleep(0.03)
