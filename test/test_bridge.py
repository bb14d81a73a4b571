"""cv_bridge where ROS has it, our converter else: the same results behind one face."""

import sys

import numpy as np
import pytest
from sensor_msgs.msg import Image

from gsc_ros.ros import convert
from gsc_ros.ros.images import bridge, encodings

BRIDGE = bridge.find()


def ours(message):
    return encodings.to_rgb(
        bytes(message.data), message.encoding, message.width, message.height, message.step
    )


@pytest.mark.parametrize('encoding', bridge.COLOURS)
def test_the_face_gives_the_same_with_and_without(encoding, monkeypatch):
    message = bridge.chart(encoding)
    with_it = convert.to_rgb(message)
    monkeypatch.setattr(bridge, 'find', lambda: None)
    without = convert.to_rgb(message)
    assert np.array_equal(with_it, without)
    assert np.array_equal(without, ours(message))
    assert len(np.unique(without)) > 10


@pytest.mark.skipif(BRIDGE is None, reason='ROS has no cv_bridge here')
@pytest.mark.parametrize('encoding', bridge.COLOURS)
def test_cv_bridge_converts_as_we_do(encoding):
    _, channels = encodings.layout(encoding)
    pixels = np.random.default_rng(0).integers(0, 256, (33, 47, channels), np.uint8)
    message = Image(
        encoding=encoding, width=47, height=33, step=47 * channels, data=pixels.tobytes()
    )
    found = bridge.to_rgb(message)
    assert found is not None
    assert np.array_equal(found, ours(message))
    assert found.flags['C_CONTIGUOUS']


def module(folder, text='CvBridge = None'):
    package = folder / 'cv_bridge'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(text)
    return folder


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is known of cv_bridge yet."""
    monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
    bridge.find.cache_clear()
    yield monkeypatch
    sys.modules.pop('cv_bridge', None)
    bridge.find.cache_clear()


def test_only_one_from_a_ros_prefix_is_used(tmp_path, fresh):
    prefix = tmp_path / 'ros'
    index = prefix / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'cv_bridge').write_text('')
    foreign = module(tmp_path / 'pip')
    fresh.syspath_prepend(str(foreign))
    assert not bridge.installed('cv_bridge', [prefix])
    fresh.syspath_prepend(str(module(prefix / 'lib/python3/site-packages')))
    assert bridge.installed('cv_bridge', [prefix])
    assert not bridge.installed('cv_bridge', [tmp_path / 'other'])
    assert not bridge.installed('no_such_package', [prefix])


@pytest.mark.parametrize(
    'text',
    [
        'raise RuntimeError("built for another numpy")',
        # One that swaps red and blue.
        'import numpy as np\n'
        'class CvBridge:\n'
        '    def imgmsg_to_cv2(self, message, encoding):\n'
        '        return np.zeros((message.height, message.width, 3), np.uint8)\n',
    ],
)
def test_one_that_does_not_convert_right_is_not_used(tmp_path, fresh, text):
    index = tmp_path / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'cv_bridge').write_text('')
    fresh.syspath_prepend(str(module(tmp_path / 'lib', text)))
    fresh.setattr(bridge.paths, 'prefixes', lambda: [tmp_path])
    assert bridge.installed('cv_bridge', [tmp_path])
    assert bridge.find() is None
    message = bridge.chart('bgr8')
    assert np.array_equal(convert.to_rgb(message), ours(message))


def test_what_is_padded_or_not_whole_is_ours():
    message = bridge.chart('rgb8')
    message.data = bytes(message.data)[:-1]
    assert bridge.to_rgb(message) is None
    with pytest.raises(ValueError, match='need'):
        convert.to_rgb(message)
    padded = bridge.chart('mono8')
    rows = np.pad(np.frombuffer(bytes(padded.data), np.uint8).reshape(3, 5), ((0, 0), (0, 3)))
    padded.step, padded.data = 8, rows.tobytes()
    assert bridge.to_rgb(padded) is None
    assert np.array_equal(convert.to_rgb(padded)[..., 0], rows[:, :5])
