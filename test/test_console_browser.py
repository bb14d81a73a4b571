"""The console's page in a real browser: headless Chromium, where there is one."""

import importlib.util
import time

import numpy as np
import pytest

pytest.importorskip('starlette', reason='needs the extra console')
pytest.importorskip('uvicorn', reason='needs the extra console')

import browser
from bench import Bench
from console_bench import SIZE, Ground
from geometry_msgs.msg import Twist
from gsc_ros.msg import LinkStatus
from sensor_msgs.msg import Image
from std_msgs.msg import String
from test_console_ground import K

from gsc_ros.console.ground import Footing, drawn
from gsc_ros.nodes.camera import Camera
from gsc_ros.nodes.console import Console
from gsc_ros.nodes.guard import Guard
from gsc_ros.nodes.link import LinkNode
from gsc_ros.ros import convert, topics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browser.find() is None,
        reason='no Chromium: `sh tools/system_packages.sh browser` installs it',
    ),
]
PASSWORD = 'correct horse'
CONNECTED = 'document.getElementById("connection").textContent === "connected"'


@pytest.fixture
def page(tmp_path):
    made = browser.Chromium(tmp_path / 'browser')
    yield made
    made.close()


@pytest.fixture
def ground(ros, tmp_path):
    made = Ground(ros, f'/page{time.monotonic_ns()}', tmp_path / 'kept', stale_after_s=20.0)
    yield made
    made.close()


def is_grey(page):
    return page.run('document.getElementById("stage").classList.contains("stale")')


def age(page):
    return float(page.text('age-value').removesuffix(' s'))


def test_the_image_comes_its_age_counts_and_stale_locks(page, ground):
    began = time.monotonic()
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    ready_s = time.monotonic() - began
    print(f'page ready after {ready_s:.2f} s')
    assert is_grey(page) and 'no image' in page.text('banner')
    page.wait('document.getElementById("image").dataset.stamp', ground.show)
    page.wait('!document.getElementById("stage").classList.contains("stale")', ground.show)
    assert page.run('document.getElementById("image").width') == SIZE[0]
    pixel = (
        'Array.from(document.getElementById("image").getContext("2d").getImageData(9,9,1,1).data)'
    )
    assert np.allclose(page.run(pixel), [90, 90, 90, 255], atol=3)
    page.wait('document.getElementById("age-value").textContent !== "-"')
    first = age(page)
    browser.wait(lambda: age(page) > first + 1.0, 'the age counts')
    page.tap('1')
    shown = 'document.getElementById("overlay").getContext("2d").getImageData(0,0,64,48).data'
    page.wait(f'{shown}.some((value) => value)', ground.show)
    page.tap('t')
    page.wait('document.getElementById("driver").textContent === "you drive"')
    page.wait('document.getElementById("stick").classList.contains("ready")', ground.show)
    page.wait(
        'document.getElementById("stage").classList.contains("stale")', lambda: ground.show(25.0)
    )
    assert 'limit' in page.text('banner')
    page.wait('document.getElementById("lock").textContent.includes("limit is 20.0 s")')
    page.key('w')
    time.sleep(0.5)
    page.key('w', down=False)
    assert not any(t.linear.x for t in ground.got[topics.TELEOP])
    assert not page.errors


def test_a_held_key_drives_letting_go_and_a_lost_focus_stop(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    page.tap('t')
    page.wait('document.getElementById("stick").classList.contains("ready")', ground.show)
    page.key('w')
    browser.wait(lambda: (ground.speed() or 0) > 0.1, 'the key drives')
    page.key('w', down=False)
    browser.wait(lambda: ground.speed() == 0.0, 'letting go stops')
    x, y = page.place('stick')
    page.mouse('Pressed', x, y - 40)
    browser.wait(lambda: ground.speed() > 0.1, 'the stick drives')
    page.run('window.dispatchEvent(new Event("blur"))')
    browser.wait(lambda: ground.speed() == 0.0, 'a page without focus stops')
    page.mouse('Released', x, y)
    page.key('w')
    browser.wait(lambda: ground.speed() > 0.1, 'it drives again')
    page.call('Page.navigate', url='about:blank')
    browser.wait(lambda: ground.speed() == 0.0, 'a page that is left stops')
    assert not page.errors


def test_a_click_on_the_ground_and_a_cross_moved_by_keys_become_goals(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    plane = ground.show_ground()
    page.wait('document.getElementById("image").width === 240')
    page.tap('t')
    page.wait('document.getElementById("stick").classList.contains("ready")')
    page.tap('g')
    page.wait('document.getElementById("go").getAttribute("aria-pressed") === "true"')
    (share,) = drawn([(3.0, 0.4)], Footing.of(plane), K, (240, 180))
    x, y = page.place('overlay', *share)
    page.mouse('Pressed', x, y)
    page.mouse('Released', x, y)
    browser.wait(lambda: ground.got[topics.GOAL], 'the goal goes')
    at = ground.got[topics.GOAL][0].pose.position
    assert (at.x, at.y) == pytest.approx((3.0, 0.4), abs=0.15)
    page.tap('g')
    page.tap('ArrowDown')
    page.tap('Enter')
    browser.wait(lambda: len(ground.got[topics.GOAL]) > 1, 'the other goal goes')
    at = ground.got[topics.GOAL][1].pose.position
    assert at.x > 0 and at.y == pytest.approx(0.0, abs=0.05)
    assert not any(t.linear.x for t in ground.got[topics.TELEOP])  # arrows do not drive then
    page.click('cancel')
    browser.wait(lambda: ground.got[topics.GOAL_END], 'the end goes')
    assert not page.errors


def test_a_whole_image_is_asked_for_comes_with_its_progress_and_can_be_kept(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    page.click('still')
    browser.wait(lambda: ground.got[topics.STILL], 'it is asked for')
    ground.show_still(0.5)
    page.wait('document.getElementById("still-state").textContent === "4 of 8 parts"')
    page.wait('document.getElementById("still-progress").value === 0.5')
    assert page.run('document.getElementById("still-progress").hidden') is False
    ground.show_still()
    page.wait('document.getElementById("still-image").naturalWidth === 160')
    assert page.run('document.getElementById("still-link").download') == (
        'still_20231114T221320.000Z.webp'
    )
    assert 'taken 2023-11-14T22:13:20.000Z' in page.text('still-caption')
    page.wait('document.getElementById("still-progress").hidden')
    assert not page.errors


def test_hazards_are_striped_with_an_edge_and_unknown_is_dotted(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    page.tap('5')
    shown = 'document.getElementById("overlay").getContext("2d").getImageData(0,0,64,48).data'
    page.wait(f'{shown}.some((value) => value)', ground.show)
    pixels = np.array(page.run(f'Array.from({shown})')).reshape(48, 64, 4)
    assert not pixels[:20, :, 3].any(), 'nothing was found there'
    assert (pixels[20, 10:40] == 255).all() and (pixels[20:40, 10] == 255).all(), 'the edge'
    inner = pixels[22:38, 12:38, :3].reshape(-1, 3)
    dark, orange = inner.max(axis=1) < 20, (inner[:, 0] > 180) & (inner[:, 2] < 40)
    assert 0.3 < dark.mean() < 0.7 and (dark | orange).all(), 'stripes of two brightnesses'
    dotted = pixels[20:, 41:, 3] > 0
    assert 0.005 < dotted.mean() < 0.05
    assert 'striped' in page.text('legend')
    assert not page.errors


def test_objects_are_boxes_with_names_over_their_own_image(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    page.run(
        'window.texts = new Set(); const fill = CanvasRenderingContext2D.prototype.fillText;'
        ' CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {'
        ' window.texts.add(text); return fill.call(this, text, ...at); }; 0'
    )
    page.tap('6')
    page.wait('[...window.texts].some((text) => text.startsWith("car 90 %, "))', ground.show)
    page.wait('[...window.texts].some((text) => text.startsWith("car 60 %, "))')
    assert 'dashed below 75 %' in page.text('legend')
    shown = 'document.getElementById("overlay").getContext("2d").getImageData(0,0,64,48).data'
    page.wait(f'{shown}.some((value) => value)', ground.show)
    pixels = np.array(page.run(f'Array.from({shown})')).reshape(48, 64, 4)
    assert pixels[:, :8, 3].max() == 0, 'beside the boxes there is nothing'
    page.wait(f'!{shown}.some((value) => value)', ground.show_ground)
    assert not page.errors


def test_a_button_or_a_key_shows_another_camera_and_the_robot_is_asked(page, ros, tmp_path):
    made = Ground(
        ros, f'/tabs{time.monotonic_ns()}', tmp_path / 'kept', stale_after_s=20.0,
        cameras='front,rear',
    )  # fmt: skip
    front, rear = made.feeds
    grey = 'document.getElementById("image").getContext("2d").getImageData(9,9,1,1).data[0]'
    tabs = '[...document.getElementById("cameras").children]'
    pressed = f'{tabs}.findIndex((one) => one.getAttribute("aria-pressed") === "true")'
    ready = 'document.getElementById("stick").classList.contains("ready")'
    try:
        page.go(made.node.server.url)
        page.wait(CONNECTED)
        page.wait(f'{tabs}.length === 2')
        page.wait(f'Math.abs({grey} - 90) < 4', front.show)
        page.tap('t')
        page.wait(ready)
        page.run(f'{tabs}[1].click()')
        browser.wait(lambda: made.got[topics.FIRST], 'the robot is asked')
        page.wait(f'{pressed} === 1 && {grey} === 0 && !{ready}')
        assert is_grey(page) and 'no image' in page.text('banner')
        page.key('w')
        page.wait(f'Math.abs({grey} - 200) < 4', lambda: (front.show(), rear.show(grey=200)))
        assert not any(one.linear.x for one in made.got[topics.TELEOP])
        page.key('w', down=False)
        page.wait(ready)
        made.firsts.publish(String(data='rear'))
        page.wait(f'{tabs}[1].textContent === "rear (first)"')
        page.key('w')
        browser.wait(lambda: (made.speed() or 0) > 0.1, 'it is driven by the other camera')
        page.key('w', down=False)
        page.tap('c')
        page.wait(f'{pressed} === 0 && Math.abs({grey} - 90) < 4')
        browser.wait(
            lambda: [one.data for one in made.got[topics.FIRST]] == ['front', 'rear', 'front']
        )
        assert not page.errors
    finally:
        made.close()


def holds(page, console, number, speed):
    """Whether a robot moves while W is held; pressed anew where this machine was too slow."""
    if console.robots[number].desk.drive.must_release:
        page.key('w', down=False)
        page.key('w')
    return (speed() or 0) > 0.1


def summary(page, number):
    return page.run(f'document.getElementById("robots").children[{number}].innerText')


def test_robots_are_shown_by_turns_and_stopped_each_or_all(page, ros, tmp_path):
    made = Ground(
        ros, f'/fleet{time.monotonic_ns()}', tmp_path / 'kept', stale_after_s=60.0,
        robots='one,other', heartbeat_s=5.0,
    )  # fmt: skip
    one, other = made.robots
    grey = 'document.getElementById("image").getContext("2d").getImageData(9,9,1,1).data[0]'
    cards = 'document.getElementById("robots").children'
    ready = 'document.getElementById("stick").classList.contains("ready")'

    def show():
        one.feeds[0].show()
        other.feeds[0].show(grey=200)

    try:
        page.go(made.node.server.url)
        page.wait(CONNECTED)
        page.wait(f'{cards}.length === 2')
        page.wait(f'Math.abs({grey} - 90) < 4', show)
        assert page.text('stop').startswith('STOP one')

        def is_heard():
            other.link()
            return 'old' in summary(page, 1) and 'heard' in summary(page, 1)

        browser.wait(is_heard, 'its life')
        page.tap('t')
        page.wait(ready, show)
        page.key('w')
        browser.wait(lambda: holds(page, made.node, 0, one.speed), 'the one is driven')
        page.tap('r')
        browser.wait(lambda: one.speed() == 0.0, 'another is shown: it is let go of')
        page.wait(f'Math.abs({grey} - 200) < 4 && !{ready}', show)
        page.key('w', down=False)
        assert page.text('stop').startswith('STOP other')
        page.wait('document.getElementById("driver").textContent === "nobody drives"')
        page.tap('t')
        page.wait(ready, show)
        page.key('w')
        browser.wait(lambda: holds(page, made.node, 1, other.speed), 'the other is driven')
        page.run(f'{cards}[0].querySelector(".stop").click()')
        browser.wait(lambda: one.got(topics.STOP), 'the STOP of the one that is not shown')
        one.link(stop=LinkStatus.STOP_HELD)
        browser.wait(lambda: 'STOP HELD' in summary(page, 0), 'that is stated')
        assert not other.got(topics.STOP)
        browser.wait(lambda: holds(page, made.node, 1, other.speed), 'the other drives on')
        assert 'not in force' in page.text('stop-state')
        count = len(one.got(topics.STOP))
        page.tap('Backspace')
        browser.wait(lambda: other.got(topics.STOP) and len(one.got(topics.STOP)) > count, 'all')
        browser.wait(lambda: other.speed() == 0.0, 'it stands')
        page.key('w', down=False)
        other.link(stop=LinkStatus.STOP_HELD)
        page.wait('document.getElementById("stop-state").textContent.includes("HELD")', show)
        browser.wait(lambda: "the link's node is silent" in summary(page, 1), 'a silent link')
        browser.wait(lambda: 'STALE' in summary(page, 0) and 'STALE' in summary(page, 1), 'stale')
        page.run(f'{cards}[0].querySelector("button").click()')
        page.wait('document.getElementById("stop").textContent.startsWith("STOP one")')
        page.wait(f'Math.abs({grey} - 90) < 4')
        sticky = 'document.getElementById("robots").getBoundingClientRect().top'
        page.run('window.scrollTo(0, 500); 0')
        page.wait(f'window.scrollY > 100 && {sticky} >= 0 && {sticky} < 400')
        assert not page.errors
    finally:
        made.close()


def test_a_stop_without_a_connection_is_given_to_the_robot_that_it_is_for(page, ros, tmp_path):
    made = Ground(ros, f'/away{time.monotonic_ns()}', tmp_path / 'kept', robots='one,other')
    one, other = made.robots
    try:
        page.go(made.node.server.url)
        page.wait(CONNECTED)
        page.tap('r')
        page.wait('document.getElementById("stop").textContent.startsWith("STOP other")')
        page.run(
            'window.WebSocket = class { static OPEN = 1; readyState = 3;'
            ' constructor() { setTimeout(() => this.onclose?.(), 50); } close() {} }; 0'
        )
        for viewer in list(made.node.server._viewers.all.values()):
            made.node.server._call(viewer.let_go, 1001)
        page.wait(f'!({CONNECTED})')
        page.tap('Escape')
        browser.wait(lambda: other.got(topics.STOP), 'the STOP goes by a request')
        assert not one.got(topics.STOP)
        page.tap('Backspace')
        browser.wait(lambda: one.got(topics.STOP), 'and that for all')
    finally:
        made.close()


def test_one_camera_has_no_buttons(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    page.wait('document.getElementById("image").dataset.stamp', ground.show)
    page.tap('c')
    assert page.run('document.getElementById("cameras").getBoundingClientRect().height') == 0
    assert not ground.got[topics.FIRST] and not page.errors


def test_stop_latches_and_is_released_by_keyboard_in_two_steps(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    page.tap('t')
    page.wait('document.getElementById("driver").textContent === "you drive"', ground.show)
    page.tap('Escape')
    browser.wait(lambda: ground.got[topics.STOP], 'the STOP goes')
    assert ground.got[topics.STOP][0].data
    ground.link(stop=LinkStatus.STOP_HELD)
    page.wait('document.getElementById("stop-state").textContent.includes("HELD")', ground.show)
    page.run('document.getElementById("release").focus()')
    page.tap('Enter')
    page.wait('document.getElementById("release").textContent.startsWith("Confirm")')
    assert all(one.data for one in ground.got[topics.STOP])
    page.wait('!document.getElementById("release").disabled')
    page.run('document.getElementById("release").focus()')
    page.tap('Enter')
    browser.wait(lambda: not ground.got[topics.STOP][-1].data, 'the release goes')
    ground.link()
    page.wait('document.getElementById("stop-state").textContent.includes("not in force")')
    assert not page.errors


def test_a_stop_that_is_pressed_without_a_connection_goes_by_a_request_and_later(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    page.run(
        'window.kept = WebSocket; window.WebSocket = class { static OPEN = 1; readyState = 3;'
        ' constructor() { setTimeout(() => this.onclose?.(), 50); } close() {} };'
        ' window.keptFetch = window.fetch;'
        ' window.fetch = async () => { throw new Error("away"); }; 0'
    )
    for viewer in list(ground.node.server._viewers.all.values()):
        ground.node.server._call(viewer.let_go, 1001)
    page.wait(f'!({CONNECTED})')
    page.tap('Escape')
    page.wait('document.getElementById("note").textContent.includes("no connection")')
    assert not ground.got[topics.STOP]
    page.run('window.fetch = window.keptFetch; 0')
    browser.wait(lambda: ground.got[topics.STOP], 'the STOP goes by a request')
    page.wait('document.getElementById("note").textContent.includes("has the STOP")')
    page.run('window.fetch = async () => { throw new Error("away"); }; 0')
    ground.got[topics.STOP].clear()
    page.tap('Escape')
    page.wait('document.getElementById("note").textContent.includes("no connection")')
    page.run('window.WebSocket = window.kept; 0')
    browser.wait(lambda: ground.got[topics.STOP], 'the STOP goes with a new connection')


def test_a_connection_that_is_dead_is_made_anew(page, ground):
    page.go(ground.node.server.url)
    page.wait(CONNECTED)
    first = min(ground.node.server._viewers.all)
    # What comes is lost, and no end comes: as behind a network that is gone.
    ground.node.server._viewers.all[first].next_message = lambda: None
    browser.wait(lambda: max(ground.node.server._viewers.all, default=0) > first, 'another comes')
    page.wait(CONNECTED)


def test_a_wrong_password_is_refused_and_the_right_one_opens(page, ros, tmp_path):
    file = tmp_path / 'password'
    file.write_text(PASSWORD)
    file.chmod(0o600)
    made = Ground(ros, f'/login{time.monotonic_ns()}', tmp_path / 'kept', password_file=str(file))
    try:
        page.go(made.node.server.url)
        page.wait('location.pathname === "/login"')
        for text, end in (('wrong password', '/login'), (PASSWORD, '/')):
            page.wait('document.readyState === "complete" && document.getElementById("password")')
            page.run(f'document.getElementById("password").value = {text!r}')
            page.run('document.forms[0].requestSubmit()')
            page.wait(f'location.pathname === "{end}" && (location.search || "{end}" === "/")')
        page.wait(f'document.readyState === "complete" && {CONNECTED}')
        page.run('document.getElementById("logout").requestSubmit()')
        page.wait('location.pathname === "/login"')
        browser.wait(lambda: not made.node.server.viewers, 'the socket ends with the session')
    finally:
        made.close()


def test_a_key_moves_the_simulated_robot_through_link_and_guard(page, bench, tmp_path):
    """Page, console, link, guard and simulator; the test passes images on as the decoder does."""
    if importlib.util.find_spec('mujoco') is None:  # to import it here would choose its renderer
        pytest.skip('needs the extra sim')
    bench.subscribe(Twist, topics.CMD_VEL)
    console = bench.add(Console, port=0, output=str(tmp_path / 'kept'), stale_after_s=20.0)
    bench.add(LinkNode, profile='ideal', security=False)
    bench.add(Guard)
    decoded = bench.peer.create_publisher(Image, topics.DECODED, topics.IMAGES)
    images = []

    def pass_on(message):
        images.append(message)
        decoded.publish(message)

    bench.peer.create_subscription(Image, topics.IMAGE, pass_on, topics.SENSOR)
    bench.add(Camera, width=96, height=64, rate=4.0, auto_drive=False)
    page.go(console.server.url)
    page.wait(CONNECTED)
    page.wait('document.getElementById("image").dataset.stamp')
    page.tap('t')
    page.wait('document.getElementById("stick").classList.contains("ready")')
    before = convert.to_rgb(images[-1]).astype(int)
    page.key('w')
    bench.wait(lambda: any(t.linear.x > 0.1 for t in bench.got[topics.CMD_VEL]), 'it drives')
    bench.wait(lambda: abs(convert.to_rgb(images[-1]).astype(int) - before).mean() > 1, 'it moves')
    page.tap('Escape')
    page.wait('document.getElementById("stop-state").textContent.includes("HELD")')
    bench.wait(lambda: not bench.got[topics.CMD_VEL][-1].linear.x, 'the robot stands')
    page.key('w', down=False)
    page.key('w')  # nothing moves under a STOP
    count = len(bench.got[topics.CMD_VEL])
    bench.wait(lambda: len(bench.got[topics.CMD_VEL]) > count + 3)
    assert not any(t.linear.x for t in bench.got[topics.CMD_VEL][count:])
    assert not page.errors


def test_one_page_drives_two_simulated_robots_and_stops_both(page, ros, tmp_path):
    """Page and console; link, guard and simulator of each robot; images as the decoder's."""
    if importlib.util.find_spec('mujoco') is None:  # to import it here would choose its renderer
        pytest.skip('needs the extra sim')
    space = f'/base{time.monotonic_ns()}'
    base = Bench(ros, space)
    robots = [Bench(ros, f'{space}/{name}') for name in ('rover1', 'rover2')]
    images = [[], []]
    try:
        console = base.add(
            Console, port=0, output=str(tmp_path / 'kept'), stale_after_s=60.0, heartbeat_s=5.0,
            robots='rover1,rover2',
        )  # fmt: skip
        for robot, came in zip(robots, images, strict=True):
            robot.subscribe(Twist, topics.CMD_VEL)
            robot.add(LinkNode, profile='ideal', security=False)
            robot.add(Guard)
            decoded = robot.peer.create_publisher(Image, topics.DECODED, topics.IMAGES)

            def pass_on(message, came=came, decoded=decoded):
                came.append(convert.to_rgb(message).astype(int))
                decoded.publish(message)

            robot.peer.create_subscription(Image, topics.IMAGE, pass_on, topics.SENSOR)
            robot.add(Camera, width=96, height=64, rate=0.5, auto_drive=False)
        page.go(console.server.url)
        page.wait(CONNECTED)
        for number, (robot, came) in enumerate(zip(robots, images, strict=True)):
            if number:
                page.tap('r')
            page.wait('document.getElementById("image").dataset.stamp')
            page.tap('t')
            page.wait('document.getElementById("stick").classList.contains("ready")')
            before, others = came[-1], robots[1 - number].got[topics.CMD_VEL]
            count = len(others)
            page.key('w')

            def speed(robot=robot):
                return robot.got[topics.CMD_VEL][-1].linear.x

            robot.wait(lambda n=number, s=speed: holds(page, console, n, s), 'drives')
            robot.wait(lambda c=came, b=before: abs(c[-1] - b).mean() > 1, 'it moves')
            assert not any(told.linear.x for told in others[count:]), 'the other stands'
            if not number:
                page.key('w', down=False)
                robot.wait(lambda robot=robot: not robot.got[topics.CMD_VEL][-1].linear.x)
        page.tap('Backspace')
        for number, robot in enumerate(robots):
            robot.wait(lambda robot=robot: not robot.got[topics.CMD_VEL][-1].linear.x, 'stands')
            browser.wait(lambda n=number: 'STOP HELD' in summary(page, n), 'both hold the STOP')
        assert not page.errors
    finally:
        for one in (*robots, base):
            one.close()
