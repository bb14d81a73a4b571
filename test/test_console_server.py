"""The console's web server: pages, log-in, files, WebSockets, and clients that mean no good."""

import contextlib
import datetime
import http.client
import json
import random
import socket
import ssl
import threading
import time
import urllib.parse

import pytest

pytest.importorskip('starlette', reason='needs the extra console')
pytest.importorskip('uvicorn', reason='needs the extra console')

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from gsc_ros.console import sockets, words
from gsc_ros.console.access import COOKIE, Access
from gsc_ros.console.files import Files
from gsc_ros.console.server import Server, Settings

PASSWORD = 'correct horse'
PATIENCE_S = 60.0


class Site:
    """Keeps what it hears."""

    def __init__(self):
        self.heard_words, self.left, self.fails = [], [], False

    def opened(self, viewer, address):
        return [words.dump('hello', viewer=viewer)]

    def heard(self, viewer, word):
        if self.fails:
            raise RuntimeError('on purpose')
        self.heard_words.append((viewer, word))
        return [words.dump('beat', s=word.sent_s)] if isinstance(word, words.Beat) else []

    def gone(self, viewer):
        self.left.append(viewer)


def wait(condition, why=''):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f'waited in vain: {why}'
        time.sleep(0.01)


@pytest.fixture
def serve(tmp_path):
    servers = []

    def make(password=None, **settings):
        site = Site()
        access = Access('127.0.0.1', password, 1000.0, 1000.0)
        server = Server(Settings(**{'port': 0, **settings}), access, site, Files(tmp_path))
        servers.append(server)
        server.start()
        return server, site

    yield make
    for server in servers:
        server.close()
        assert not server._thread.is_alive()


def ask(server, method, path, body=None, origin=True, cookie=None, host=None):
    """Return status, headers and body of an answer."""
    port = server.address[1]
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE_S)
    headers = {'Host': host or f'127.0.0.1:{port}'}
    if origin is True:
        origin = f'http://127.0.0.1:{port}'
    if origin:
        headers['Origin'] = origin
    if cookie:
        headers['Cookie'] = f'{COOKIE}={cookie}'
    if body is not None:
        headers['Content-Type'] = 'application/x-www-form-urlencoded'
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def log_in(server, password=PASSWORD, **options):
    body = urllib.parse.urlencode({'password': password})
    return ask(server, 'POST', '/login', body, **options)


def cookie_of(headers):
    return headers['set-cookie'].split(';')[0].split('=', 1)[1]


def talk(server, cookie=None, origin=True):
    port = server.address[1]
    headers = {'Cookie': f'{COOKIE}={cookie}'} if cookie else None
    where = f'http://127.0.0.1:{port}' if origin is True else origin
    return connect(
        f'ws://127.0.0.1:{port}/ws',
        origin=where,
        additional_headers=headers,
        open_timeout=PATIENCE_S,
        close_timeout=5,
    )


def test_the_page_comes_with_all_its_parts_and_names_nothing_elsewhere(serve):
    server, _ = serve()
    status, headers, body = ask(server, 'GET', '/', origin=None)
    assert status == 200 and b'STOP' in body
    assert "default-src 'none'" in headers['content-security-policy']
    assert "frame-ancestors 'none'" in headers['content-security-policy']
    for name in (
        'app.js',
        'cameras.js',
        'connection.js',
        'objects.js',
        'still.js',
        'view.js',
        'drive.js',
        'charts.js',
        'style.css',
        'icon.svg',
    ):
        status, headers, part = ask(server, 'GET', f'/page/{name}', origin=None)
        assert status == 200 and part, name
        text = part.decode().replace('http://www.w3.org/2000/svg', '')
        assert '//' not in text.replace('// ', '').replace('://$', ''), name


def test_a_viewer_is_greeted_gets_the_newest_and_only_what_it_looks_at(serve):
    server, site = serve()
    with talk(server) as ws:
        assert json.loads(ws.recv(timeout=PATIENCE_S)) == {'t': 'hello', 'viewer': 1}
        server.show('trust', words.pack({'kind': 'trust'}, b'1'))
        server.show('image', words.pack({'kind': 'image'}, b'2'))
        assert ws.recv(timeout=PATIENCE_S).endswith(b'2')
        ws.send('{"t": "view", "overlays": ["trust"], "original": false}')
        newest = {ws.recv(timeout=PATIENCE_S)[-1:] for _ in range(2)}
        assert newest == {b'1', b'2'}
        wait(lambda: server.views() == {'image', 'trust'})
        ws.send('{"t": "beat", "s": 4}')
        wait(lambda: site.heard_words == [(1, words.Beat(4.0))])
    wait(lambda: site.left == [1], 'the viewer is gone')
    assert server.viewers == 0 and server.views() == frozenset()


def test_each_viewer_gets_what_is_of_its_camera_and_what_is_of_the_robot(serve):
    server, site = serve(cameras=(2,))
    with talk(server) as front, talk(server) as rear:
        for ws in (front, rear):
            ws.recv(timeout=PATIENCE_S)
        for camera in (0, 1):
            server.show('image', words.pack({'camera': camera}, b'%d' % camera), (0, camera))
        assert front.recv(timeout=PATIENCE_S).endswith(b'0')
        assert rear.recv(timeout=PATIENCE_S).endswith(b'0')
        rear.send('{"t": "camera", "camera": 1}')
        assert rear.recv(timeout=PATIENCE_S).endswith(b'1'), 'the newest comes at once'
        assert site.heard_words == [(2, words.Watch(1))]
        assert server.views((0, 0)) == server.views((0, 1)) == {'image'}
        server.tell(words.dump('state', camera=1), (0, 1))
        server.tell(words.dump('note'))
        assert json.loads(rear.recv(timeout=PATIENCE_S)) == {'t': 'state', 'camera': 1}
        for ws in (front, rear):
            assert json.loads(ws.recv(timeout=PATIENCE_S)) == {'t': 'note'}
        rear.send('{"t": "camera", "camera": 2}')
        assert 'from 0 to 1' in rear.recv(timeout=PATIENCE_S)


def test_each_viewer_gets_what_is_of_its_robot(serve):
    server, site = serve(cameras=(2, 2, 2))
    with talk(server) as viewer:
        viewer.recv(timeout=PATIENCE_S)
        for word in ('"camera", "camera": 1', '"robot", "robot": 2'):
            viewer.send(f'{{"t": {word}}}')
        wait(lambda: server.views((2, 0)), 'the first camera of another robot')
        assert not server.views((0, 0)) and not server.views((2, 1))
        for place in ((0, 0), (2, 1), (2, 0)):
            server.show('image', words.pack({'kind': 'image'}, b'%d%d' % place), place)
        assert viewer.recv(timeout=PATIENCE_S).endswith(b'20')
        for word in ('"camera", "camera": 1', '"robot", "robot": 2'):
            viewer.send(f'{{"t": {word}}}')
        wait(lambda: len(site.heard_words) == 4)
        assert server.views((2, 1)), 'the robot is the same, and so is its camera'
    site.heard_words.clear()


def test_a_camera_is_one_of_the_robot_that_is_shown(serve):
    server, _ = serve(cameras=(1, 3))
    with talk(server) as viewer:
        viewer.recv(timeout=PATIENCE_S)
        viewer.send('{"t": "camera", "camera": 1}')
        assert 'from 0 to 0' in viewer.recv(timeout=PATIENCE_S)
        for word in ('"robot", "robot": 1', '"camera", "camera": 2'):
            viewer.send(f'{{"t": {word}}}')
        wait(lambda: server.views((1, 2)), 'the third of the other robot')
        viewer.send('{"t": "camera", "camera": 3}')
        assert 'from 0 to 2' in viewer.recv(timeout=PATIENCE_S)


def test_a_stop_by_a_request_is_for_one_or_all(serve):
    server, site = serve(cameras=(1, 1, 1))
    for query in ('?robot=one', '?robot=\u00b2', '?robot=', '?other=one', ''):
        assert ask(server, 'POST', f'/stop{urllib.parse.quote(query, "?=")}', '')[0] == 200
    expected = [words.Stop('one'), words.Stop('\u00b2'), *[words.Stop()] * 3]
    assert [word for _, word in site.heard_words] == expected


def test_twenty_look_on_and_too_many_are_turned_away(serve):
    server, _ = serve(most_viewers=20)
    viewers = [talk(server).__enter__() for _ in range(20)]
    try:
        for ws in viewers:
            assert 'hello' in ws.recv(timeout=PATIENCE_S)
        with pytest.raises(InvalidStatus):
            talk(server).__enter__()
        server.tell(words.dump('state'))
        for ws in viewers:
            assert 'state' in ws.recv(timeout=PATIENCE_S)
    finally:
        for ws in viewers:
            ws.close()


def test_without_the_password_nothing_is_served_but_the_log_in(serve):
    server, _ = serve(PASSWORD)
    assert ask(server, 'GET', '/')[:1] == (303,)
    assert ask(server, 'GET', '/page/app.js')[0] == 401
    assert ask(server, 'GET', '/files')[0] == ask(server, 'GET', '/files/x')[0] == 401
    assert ask(server, 'GET', '/login')[0] == 200
    with pytest.raises(InvalidStatus):
        talk(server).__enter__()
    with pytest.raises(InvalidStatus):
        talk(server, cookie='guess').__enter__()


def test_the_password_opens_and_a_wrong_one_does_not(serve):
    server, _ = serve(PASSWORD)
    status, headers, _ = log_in(server, 'wrong one')
    assert status == 303 and headers['location'] == '/login?wrong' and 'set-cookie' not in headers
    status, headers, _ = log_in(server)
    assert status == 303 and headers['location'] == '/'
    for flag in ('HttpOnly', 'SameSite=strict', 'Path=/'):
        assert flag in headers['set-cookie']
    cookie = cookie_of(headers)
    assert ask(server, 'GET', '/', cookie=cookie)[0] == 200
    with talk(server, cookie) as ws:
        assert 'hello' in ws.recv(timeout=PATIENCE_S)
        assert ask(server, 'POST', '/logout', '', cookie=cookie)[0] == 303
        assert ask(server, 'GET', '/files', cookie=cookie)[0] == 401
        server.tell(words.dump('state'))
        with pytest.raises(ConnectionClosed):  # the session is over, and so is its socket
            for _ in range(3):
                ws.recv(timeout=PATIENCE_S)


def test_a_stop_is_followed_although_the_session_has_just_ended(serve):
    server, site = serve(PASSWORD)
    cookie = cookie_of(log_in(server)[1])
    with talk(server, cookie) as ws:
        ws.recv(timeout=PATIENCE_S)
        assert ask(server, 'POST', '/logout', '', cookie=cookie)[0] == 303
        ws.send('{"t": "stop"}')
        wait(lambda: site.heard_words == [(1, words.Stop())])
        ws.send('{"t": "take"}')
        wait(lambda: site.left == [1], 'all else ends the connection')
    assert len(site.heard_words) == 1


def test_pages_of_other_sites_can_do_nothing(serve):
    server, _ = serve(PASSWORD)
    cookie = cookie_of(log_in(server)[1])
    for origin in (None, 'http://evil.example', 'null', 'http://127.0.0.1:1'):
        assert log_in(server, origin=origin)[0] == 403, origin
        assert ask(server, 'POST', '/logout', '', origin=origin, cookie=cookie)[0] == 403
        with pytest.raises(InvalidStatus):
            talk(server, cookie, origin=origin).__enter__()
    opened, _ = serve()
    assert ask(opened, 'GET', '/', host='evil.example')[0] == 403  # a name that leads here


def test_guessing_is_answered_with_a_wait(serve):
    server, _ = serve(PASSWORD)
    for _ in range(10):
        log_in(server, 'guess')
    status, headers, _ = log_in(server)
    assert status == 429 and int(headers['retry-after']) > 0


def test_files_are_served_by_name_and_no_path_leads_out(serve, tmp_path):
    server, _ = serve()
    (tmp_path / 'a.png').write_bytes(b'image')
    assert json.loads(ask(server, 'GET', '/files')[2])[0]['name'] == 'a.png'
    status, headers, body = ask(server, 'GET', '/files/a.png')
    assert status == 200 and body == b'image' and 'attachment' in headers['content-disposition']
    for path in ('/files/../server.py', '/files/..%2f..%2fetc%2fpasswd', '/files/%2fetc%2fpasswd',
                 '/files/..', '/page/../server.py', '/page/..%2fserver.py', '/page/%00',
                 '/../../../etc/passwd', '//etc/passwd', '/page/'):  # fmt: skip
        assert ask(server, 'GET', path)[0] in (400, 404, 307), path


def test_a_form_without_end_is_cut(serve):
    server, _ = serve(PASSWORD)
    assert ask(server, 'POST', '/login', 'password=' + 'x' * 100_000)[0] == 413
    assert ask(server, 'POST', '/login', b'\xff\xfe')[0] == 400
    assert log_in(server)[0] == 303


def test_a_site_that_fails_costs_one_viewer_its_connection(serve):
    server, site = serve()
    site.fails = True
    with talk(server) as ws:
        ws.recv(timeout=PATIENCE_S)
        ws.send('{"t": "stop"}')
        wait(lambda: site.left == [1])
    site.fails = False
    assert 'on purpose' in server.trouble
    with talk(server) as ws:
        assert 'hello' in ws.recv(timeout=PATIENCE_S)


def test_a_port_that_is_taken_is_said_with_the_remedy(serve):
    server, _ = serve()
    with pytest.raises(OSError, match='set another port'):
        serve(port=server.address[1])


def certificate(folder):
    """Make a certificate of this machine, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'localhost')])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName('localhost')]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / 'cert.pem').write_bytes(made.public_bytes(serialization.Encoding.PEM))
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / 'key.pem').write_bytes(text)
    return {'certificate': str(folder / 'cert.pem'), 'key': str(folder / 'key.pem')}


def test_with_a_certificate_all_is_encrypted(serve, tmp_path):
    files = certificate(tmp_path)
    server, _ = serve(PASSWORD, **files)
    assert server.url.startswith('https://')
    port, context = server.address[1], ssl.create_default_context(cafile=files['certificate'])
    http_client = http.client.HTTPSConnection('localhost', port, context=context)
    body = urllib.parse.urlencode({'password': PASSWORD})
    http_client.request('POST', '/login', body, {'Origin': f'https://localhost:{port}'})
    answer = http_client.getresponse()
    assert answer.status == 303 and 'Secure' in answer.headers['set-cookie']
    cookie = cookie_of({'set-cookie': answer.headers['set-cookie']})
    http_client.close()
    with connect(
        f'wss://localhost:{port}/ws', ssl=context, origin=f'https://localhost:{port}',
        additional_headers={'Cookie': f'{COOKIE}={cookie}'}, open_timeout=PATIENCE_S,
    ) as ws:  # fmt: skip
        assert 'hello' in ws.recv(timeout=PATIENCE_S)
    with pytest.raises(OSError):
        ask(server, 'GET', '/login')  # in the clear


def test_a_certificate_that_cannot_be_used_is_named(serve, tmp_path):
    (tmp_path / 'bad.pem').write_text('no certificate')
    with pytest.raises(ValueError, match=r'bad\.pem'):
        serve(certificate=str(tmp_path / 'bad.pem'), key=str(tmp_path / 'none.pem'))


def noise(rng):
    """Bytes that a bad client may send."""
    start = rng.choice(
        [b'', b'GET ', b'GET / HTTP/1.1\r\n', b'\x16\x03\x01\x02\x00',
         b'POST /login HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n',
         b'GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n']
    )  # fmt: skip
    return start + rng.randbytes(rng.randrange(2000))


def frames(rng):
    """Texts and bytes that are no words, and some that are."""
    bodies = ['{"t": "stop"}', '{"t":', '[' * 900, '{"t": "drive", "a": 1, "l": 0, "s": 1}',
              '"\\ud800"', rng.randbytes(50), '{"t": "box", "box": [1, 2, 3, 4]}', '\0',
              '']  # fmt: skip
    return rng.choice(bodies)


def test_bad_clients_do_not_stop_the_server(serve):
    """Noise on raw sockets, half requests that stay open, and noise in WebSockets."""
    server, _ = serve()
    rng, held = random.Random(5), []
    for i in range(60):
        one = socket.create_connection(('127.0.0.1', server.address[1]), timeout=5)
        one.sendall(noise(rng))
        if i % 3:
            held.append(one)  # it stays open
        else:
            one.close()
    for _ in range(15):
        with talk(server) as ws:
            try:
                ws.recv(timeout=PATIENCE_S)
                for _ in range(rng.randrange(60)):
                    ws.send(frames(rng))
                if rng.random() < 0.5:
                    ws.socket.sendall(rng.randbytes(100))  # no frames at all
            except (ConnectionClosed, OSError):
                pass  # it was thrown out
    with talk(server) as ws, pytest.raises(ConnectionClosed):
        ws.recv(timeout=PATIENCE_S)
        for _ in range(20):
            ws.send('x' * 10_000)  # too large
            ws.recv(timeout=PATIENCE_S)
    with talk(server) as ws:
        assert 'hello' in ws.recv(timeout=PATIENCE_S)
        ws.send('{"t": "beat", "s": 1}')
        assert json.loads(ws.recv(timeout=PATIENCE_S)) == {'t': 'beat', 's': 1.0}
    assert ask(server, 'GET', '/')[0] == 200
    for one in held:
        one.close()
    wait(lambda: server.viewers == 0)
    assert not server.problem


def test_who_sends_no_request_is_let_go_and_a_viewer_is_not(serve, monkeypatch):
    monkeypatch.setattr(sockets, 'REQUEST_S', 1.0)
    server, _ = serve(PASSWORD)
    cookie = cookie_of(log_in(server)[1])
    form = b'POST /login HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nContent-Length: 20\r\n\r\n'
    host = f'127.0.0.1:{server.address[1]}'.encode()
    with talk(server, cookie) as ws:
        ws.recv(timeout=PATIENCE_S)
        held = []
        for beginning in (b'', b'GET / HTTP/1.1\r\nHost:', form % (host, host)):
            one = socket.create_connection(('127.0.0.1', server.address[1]), timeout=PATIENCE_S)
            one.sendall(beginning)
            held.append(one)
        for one in held:
            while one.recv(4096):
                pass  # its answer, and then the end
            one.close()
        ws.send('{"t": "beat", "s": 1}')
        assert 'beat' in ws.recv(timeout=PATIENCE_S)


def test_connections_have_an_end_before_files_do(serve):
    server, _ = serve(most_viewers=1)
    most = 2 * (4 + 64)
    held = [socket.create_connection(('127.0.0.1', server.address[1])) for _ in range(most + 20)]
    try:
        wait(lambda: len(server._server.server_state.connections) == most)
        held[-1].settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            assert held[-1].recv(1) == b''
    finally:
        for one in held:
            one.close()
    wait(lambda: not server._server.server_state.connections)
    assert ask(server, 'GET', '/')[0] == 200


def test_who_talks_too_much_is_thrown_out(serve):
    server, _ = serve()
    with talk(server) as ws, pytest.raises(ConnectionClosed):
        for i in range(5000):
            ws.send(f'{{"t": "beat", "s": {i}}}')
            if i % 50 == 0:
                time.sleep(0.01)
        for _ in range(5000):
            ws.recv(timeout=PATIENCE_S)


@pytest.mark.parametrize('noise', ['{"t": "beat", "s": 1}', 'no word', '{"t": "take"}'])
def test_what_stops_the_robot_is_taken_before_any_limit(serve, noise):
    server, site = serve()
    with talk(server) as ws:
        ws.recv(timeout=PATIENCE_S)
        with contextlib.suppress(ConnectionClosed):
            for _ in range(400):
                ws.send(noise)
            ws.send('{"t": "stop"}')
            ws.send('{"t": "cancel"}')
            ws.send('{"t": "drive", "a": 0, "l": 0, "s": 1}')
        wait(lambda: [word for _, word in site.heard_words if words.stops(word)], 'the STOP')
        wait(lambda: site.left == [1], 'it is let go all the same')
        wait(lambda: len([word for _, word in site.heard_words if words.stops(word)]) == 3)
        with contextlib.suppress(ConnectionClosed):
            ws.send('{"t": "drive", "a": 1, "l": 0, "s": 1}')
    others = [word for _, word in site.heard_words if not words.stops(word)]
    assert len(others) <= 130, 'the rest is limited'


def test_a_stop_goes_by_a_request_where_there_are_too_many_viewers(serve):
    server, site = serve(most_viewers=1)
    with talk(server) as ws:
        ws.recv(timeout=PATIENCE_S)
        with pytest.raises((ConnectionClosed, InvalidStatus)), talk(server) as other:
            other.recv(timeout=PATIENCE_S)
        status, _, body = ask(server, 'POST', '/stop', '')
        assert status == 200 and b'STOP is given' in body
    assert site.heard_words == [(0, words.Stop())]


def test_a_session_that_ended_by_itself_may_give_the_stop_and_nothing_else(serve):
    server, site = serve(PASSWORD)
    cookie = cookie_of(log_in(server)[1])
    other = cookie_of(log_in(server)[1])
    assert ask(server, 'POST', '/logout', '', cookie=other)[0] == 303
    server._pages._access._session_s = 0.0
    assert ask(server, 'GET', '/files', cookie=cookie)[0] == 401
    assert b'action="/stop"' in ask(server, 'GET', '/login', origin=None)[2]
    assert ask(server, 'POST', '/stop', '', cookie=cookie)[0] == 200
    assert site.heard_words == [(0, words.Stop())]
    assert ask(server, 'POST', '/stop', '', cookie=other)[0] == 401, 'who has logged out may not'
    assert ask(server, 'POST', '/stop', '')[0] == 401
    assert ask(server, 'POST', '/stop', '', cookie=cookie, origin='http://evil.example')[0] == 403
    assert len(site.heard_words) == 1


def test_a_viewer_that_takes_nothing_holds_nobody_up(serve):
    server, _ = serve()
    with talk(server) as slow, talk(server) as other:
        slow.recv(timeout=PATIENCE_S)
        other.recv(timeout=PATIENCE_S)
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                server.show('image', words.pack({'kind': 'image'}, bytes(200_000)))
                time.sleep(0.005)

        thread = threading.Thread(target=flood)
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread.start()
        try:
            for _ in range(30):
                assert len(other.recv(timeout=PATIENCE_S)) > 200_000
        finally:
            stop.set()
            thread.join()


def test_a_slow_viewer_gets_the_newest_state_and_no_queue_of_old_ones(serve):
    server, _ = serve()
    with talk(server) as slow:
        slow.recv(timeout=PATIENCE_S)
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        last = 2000
        for number in range(last + 1):
            server.tell(words.dump('state', number=number, rest='x' * 10_000), (0, 0), 'state')
        server.tell(words.dump('note', text='answered'))
        numbers, noted_after = [], None
        while not numbers or numbers[-1] < last:
            word = json.loads(slow.recv(timeout=PATIENCE_S))
            if word['t'] == 'note':
                noted_after = numbers[-1]
            else:
                numbers.append(word['number'])
        assert noted_after is not None and noted_after < last, 'an answer comes before a state'
        assert numbers == sorted(numbers)
        assert numbers[-2] < last - 100, 'those in between are left out'
