"""Images and parts of images that show nothing are found, and poor images of scenes are none."""

import io
import os
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from gsc_ros.codec.grid import coding_size
from gsc_ros.evaluation.datasets import open_dataset
from gsc_ros.perception.content import (
    BLACK,
    CELL,
    COLOUR,
    FILLS,
    GREEN,
    GREY,
    KINDS,
    NOISE,
    SMOOTH,
    WHITE,
    find_loss,
)

SIZE = (512, 384)  # a working size: what find_loss gets of 640x480


def noisy(colour, deviation, seed=0, size=SIZE):
    rng = np.random.default_rng(seed)
    image = np.broadcast_to(np.array(colour, float), (size[1], size[0], 3))
    return np.clip(image + rng.normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


def jpeg(image, quality=80):
    return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


@pytest.fixture(scope='module', params=['street', 'rover'])
def scene(request):
    """An image of a simulated world."""
    if find_spec('mujoco') is None:
        pytest.skip('MuJoCo is not installed')
    from gsc_ros.sim.world import World

    world = World(request.param, 4, *SIZE)
    rgb = world.look(truth=False).rgb
    world.close()
    return rgb


@pytest.mark.parametrize(
    ('colour', 'kind'),
    [
        ((0, 0, 0), BLACK),
        ((255, 255, 255), WHITE),
        ((0, 135, 0), GREEN),  # YUV of zeros
        ((0, 77, 0), GREEN),  # the same by BT.709
        ((128, 128, 128), GREY),
        ((0, 0, 255), COLOUR),  # a receiver's screen without a signal
        ((150, 180, 220), COLOUR),
    ],
)
@pytest.mark.parametrize('deviation', [0, 2, 8])
@pytest.mark.parametrize('size', [(64, 64), (256, 192), SIZE])
def test_images_of_one_colour_show_nothing(colour, kind, deviation, size):
    raw = noisy(colour, deviation, size=size)
    for image in (raw, jpeg(raw)):
        loss = find_loss(image)
        assert loss.whole
        assert loss.kind == kind
        assert str(loss) == f'no image: {KINDS[kind]}'


def test_two_colours_of_which_one_is_a_lost_half_show_nothing():
    image = noisy((150, 180, 220), 0)
    image[192:] = 128
    assert find_loss(image).whole


def test_hot_pixels_and_strong_noise_of_a_dark_sensor_are_no_content():
    image = noisy((2, 2, 2), 3)
    image[np.random.default_rng(1).random(image.shape[:2]) < 0.01] = 255
    assert find_loss(image).kind == BLACK
    assert find_loss(noisy((0, 0, 0), 30)).kind == BLACK


@pytest.mark.parametrize('width', [512, 170])
def test_static_of_an_analogue_receiver_is_noise(width):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (384, width), np.uint8), SIZE)
    loss = find_loss(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
    assert loss.whole
    assert loss.kind == NOISE


@pytest.mark.parametrize(
    ('colour', 'kind'),
    [((0, 0, 0), BLACK), ((128, 128, 128), GREY), ((0, 135, 0), GREEN), ((255, 0, 255), COLOUR)],
)
@pytest.mark.parametrize(('first', 'last'), [(192, 384), (0, 192), (100, 160), (200, 217)])
def test_lost_rows_are_found_and_no_others(scene, colour, kind, first, last):
    if kind == COLOUR and (first == 0 or last == SIZE[1]):
        return  # a wall, or a sky, may be of one colour
    image = np.maximum(scene, 30)  # the rover's sky is black, too
    image[first:last] = colour
    loss = find_loss(image)
    assert loss.kind == kind
    wanted = np.zeros_like(loss.cells)
    wanted[first // CELL : -(-last // CELL)] = True
    np.testing.assert_array_equal(loss.cells, wanted)
    assert f'{100 * wanted.mean():.0f} %' in str(loss)


def test_several_bands_and_lost_columns_are_found(scene):
    image = np.maximum(scene, 30)  # the rover's sky is black, too
    image[32:64] = 255
    image[160:240] = (0, 135, 0)
    wanted = np.zeros((24, 32), bool)
    wanted[2:4] = wanted[10:15] = True
    np.testing.assert_array_equal(find_loss(image).cells, wanted)
    image = scene.copy()
    image[:, 384:] = 128
    wanted = np.zeros((24, 32), bool)
    wanted[:, 24:] = True
    np.testing.assert_array_equal(find_loss(image).cells, wanted)


@pytest.mark.parametrize('again', [False, True])
def test_a_jpeg_that_ends_early_is_lost_from_there_on(scene, again, monkeypatch):
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    file = io.BytesIO()
    Image.fromarray(scene).save(file, 'JPEG', quality=90)
    whole = np.array(Image.open(file))
    cut = np.array(Image.open(io.BytesIO(file.getvalue()[: file.tell() * 6 // 10])))
    lost = (cut != whole).any(-1)
    loss = find_loss(jpeg(cut, 90) if again else cut)
    assert loss.kind == GREY
    cells = lost.reshape(24, CELL, 32, CELL).mean((1, 3))
    assert (loss.cells | (cells < 1)).sum() >= cells.size - 1  # it ends amid a cell
    assert not loss.cells[cells == 0].any()


def test_a_dark_or_foggy_scene_is_an_image(scene):
    rng = np.random.default_rng(0)
    for contrast in (0.3, 0.1):
        for base in (0.0, 190.0):
            poor = base + contrast * scene + rng.normal(0, 2, scene.shape)
            assert find_loss(np.clip(poor, 0, 255).astype(np.uint8)) is None


def vignette(middle, corners):
    y, x = np.mgrid[-1 : 1 : SIZE[1] * 1j, -1 : 1 : SIZE[0] * 1j]
    return (middle + (corners - middle) * np.hypot(x, y) / np.sqrt(2))[..., None]


@pytest.mark.parametrize('deviation', [0, 1, 3, 5])
@pytest.mark.parametrize(
    ('shade', 'kind'),
    [
        (vignette(0, 21), BLACK),
        (vignette(240, 215), SMOOTH),
        (vignette(1.0, 0.5) * np.array([140, 50, 40]), SMOOTH),
        (np.linspace(0, 255, SIZE[0])[None, :, None] * np.ones((SIZE[1], 1, 1)), SMOOTH),
    ],
)
def test_shades_without_an_edge_show_nothing(shade, kind, deviation):
    """As behind a cap or a finger on the lens; a wall that fills the image is no better."""
    raw = noisy(shade, deviation)
    for image in (raw, jpeg(raw)):
        loss = find_loss(image)
        assert loss.whole
        assert loss.kind == kind


@pytest.mark.parametrize('deviation', [0, 3])
def test_a_fully_defocused_scene_shows_nothing_and_a_blurred_one_something(scene, deviation):
    for sigma, lost in ((43, True), (10, False)):
        blurred = noisy(cv2.GaussianBlur(scene, (0, 0), sigma), deviation)
        loss = find_loss(jpeg(blurred))
        assert (loss is not None and loss.whole) == lost


def test_a_narrow_rest_of_an_image_is_kept(scene):
    image = np.maximum(scene, 30)
    image[:352] = 128
    assert not find_loss(image).whole


def test_a_wall_with_anything_on_it_is_an_image():
    image = noisy(vignette(240, 215), 1.5)
    image[100:300, 250:253] = image[100:300, 250:253] - np.minimum(60, image[100:300, 250:253])
    assert find_loss(image) is None


@pytest.mark.parametrize('part', [np.s_[215:], np.s_[:150], np.s_[:, 300:]])
def test_a_vivid_dark_part_at_a_border_is_lost_and_a_wall_is_not(scene, part):
    image = np.maximum(scene, 30)
    lost = np.zeros(image.shape[:2], bool)
    lost[part] = True
    for colour, found in (((90, 0, 120), True), ((0, 20, 110), True), ((170, 132, 90), False)):
        image[part] = colour
        loss = find_loss(image)
        assert (loss is not None) == found
        if found:
            cells = lost.reshape(24, CELL, 32, CELL).mean((1, 3))
            np.testing.assert_array_equal(loss.cells[cells == 1], True)
            assert not loss.cells[cells == 0].any()


def test_lamps_in_the_dark_are_an_image():
    image = noisy((0, 0, 0), 3)
    for x, y in ((90, 160), (96, 166), (300, 170), (330, 172), (480, 150)):
        cv2.circle(image, (x, y), 8, (255, 230, 190), -1)
    assert find_loss(image) is None


@pytest.mark.parametrize('sky', [(0, 0, 0), (255, 255, 255), (178, 178, 178)])
def test_a_sky_of_one_colour_is_not_lost(scene, sky):
    """As above the Moon, where it is overexposed, and in simulators."""
    x = np.arange(SIZE[0])
    horizon = 150 + 25 * np.sin(x / 90) + 6 * np.sin(x / 9)
    image = scene.copy()
    image[np.arange(SIZE[1])[:, None] < horizon] = sky
    assert find_loss(image) is None


def test_blocks_are_no_loss():
    blocks = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    assert find_loss(np.kron(blocks, np.ones((32, 32, 1), np.uint8))) is None


def test_every_kind_is_drawn_in_a_colour():
    assert len(FILLS) == len(KINDS)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get('GSC_DATA'), reason='needs the images of GSC_DATA')
def test_real_images_are_not_lost():
    """All that is found in 3,000 are product photographs and frames on plain margins."""
    root = Path(os.environ['GSC_DATA'])
    frames = [*open_dataset(root, split='val'), *open_dataset(root, split='train')]
    found = []
    for frame in frames:
        rgb = frame.rgb()
        size = coding_size(rgb.shape[1], rgb.shape[0])
        if find_loss(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)) is not None:
            found.append(frame.image.parent.name)
    assert set(found) <= {'imagenet', 'bsds'}
    assert len(found) < 0.01 * len(frames)
