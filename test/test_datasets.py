"""Each reader on a miniature in the layout that users have on disk."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from gsc_ros.evaluation.datasets import LAYOUTS, Frame, open_dataset, thin

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def save(path, pixels=RGB):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def indexed(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids)
    image.putpalette([255 - i // 3 for i in range(768)])
    image.save(path)


def ids(*first):
    values = np.zeros((4, 6), np.uint8)
    values[0, : len(first)] = first
    return values


def millis(*first):
    values = np.zeros((4, 6), np.uint16)
    values[0, : len(first)] = first
    return values


def opened(root, layout, split='val'):
    """Open under its name, and see that it is recognised as that."""
    frames = open_dataset(root, layout, split)
    found = [(f.name, f.image) for f in open_dataset(root, 'auto', split)]
    assert found == [(f.name, f.image) for f in frames]
    assert all('/' not in f.name for f in frames)
    return frames


def test_folder_is_any_tree_and_names_are_distinct(tmp_path):
    for name in ('a.png', 'a.bmp', 'deep/down/b.png'):
        save(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no image')
    frames = opened(tmp_path, 'folder')
    assert [f.name for f in frames] == ['a', 'a-2', 'deep_down_b']
    assert (frames[0].rgb() == RGB).all() and frames[0].rgb().dtype == np.uint8
    assert (frames[0].segmentation, frames[0].depth, frames[0].boxes) == (None, None, None)
    assert (frames[0].sequence, frames[0].fps) == ('', 0)


def test_grey_alpha_and_16_bits_become_rgb(tmp_path):
    save(tmp_path / 'grey.png', np.full((4, 6), 9, np.uint8))
    save(tmp_path / 'deep.png', np.full((4, 6), 9 << 8, np.uint16))
    save(tmp_path / 'rgba.png', np.full((4, 6, 4), (9, 9, 9, 255), np.uint8))
    for frame in open_dataset(tmp_path):
        assert frame.rgb().shape == (4, 6, 3) and (frame.rgb() == 9).all()


def test_cut_and_foreign_files_raise_when_loaded(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for name in ('cut.png', 'cut.jpg'):
        path = save(tmp_path / name, noise)
        path.write_bytes(path.read_bytes()[:-2000])
    (tmp_path / 'text.png').write_text('no image')
    frames = open_dataset(tmp_path)
    assert len(frames) == 3
    for frame in frames:
        with pytest.raises(ValueError, match='cannot be read'):
            frame.rgb()


def test_manifest(tmp_path):
    save(tmp_path / 'val/a/0.png')
    indexed(tmp_path / 'val/gt/0.png', ids(0, 3, 10, 11))
    indexed(tmp_path / 'val/gt/1.png', ids(18, 19, 255))
    save(tmp_path / 'val/gt/lidar.png', millis(512))
    save(tmp_path / 'val/gt/kinect.png', millis(1500))
    head = ['file', 'sequence', 'fps', 'has_seg', 'seg_file', 'has_depth', 'depth_file']
    lidar, kinect = 'gt:lidar_sparse_u16_m*256', 'gt:kinect_u16_mm'
    rows = [
        ('val/a/0.png', 's', '12.5', 'gt:camvid11', 'val/gt/0.png', lidar, 'val/gt/lidar.png'),
        ('val/a/1.png', 's', '', 'gt:cityscapes19', 'val/gt/1.png', kinect, 'val/gt/kinect.png'),
        ('val/a/2.png', '', 'unstated', '', '', '', ''),
    ]
    with (tmp_path / 'val/manifest.csv').open('w', newline='') as file:
        csv.writer(file).writerows([head, *rows])
    a, b, c = opened(tmp_path, 'manifest')
    assert (a.name, a.sequence, a.fps) == ('a_0', 's', 12.5)
    assert (c.sequence, c.fps, c.segmentation, c.depth) == ('', 0, None, None)
    assert a.segmentation()[0, :4].tolist() == [10, 0, 12, 255]
    assert b.segmentation()[0, :3].tolist() == [18, 255, 255]
    assert a.depth()[0, 0] == 2 and np.isnan(a.depth()[0, 1]) and a.depth().dtype == np.float32
    assert b.depth()[0, 0] == 1.5
    with pytest.raises(ValueError, match='cannot be read'):
        b.rgb()  # listed, but not there
    with pytest.raises(ValueError, match='another split'):
        open_dataset(tmp_path, split='test')
    (tmp_path / 'val/manifest.csv').write_text('file,has_seg,seg_file\na.png,gt:other,b.png\n')
    with pytest.raises(ValueError, match='gt:other'):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ('hfov', 'height', 'known'),
    [('90', '1.5', 1.5), ('90', 'unstated', None), ('90', '', None), ('unstated', '1.5', False)],
)
def test_a_manifest_may_leave_a_camera_unstated(tmp_path, hfov, height, known):
    write_camera(tmp_path, hfov, height)
    camera = open_dataset(tmp_path)[0].camera
    assert (
        camera is None if known is False else (round(camera.fy, 9), camera.height_m) == (1, known)
    )


@pytest.mark.parametrize(
    ('hfov', 'height', 'why'),
    [('90', 'tall', "camera_height_m 'tall'"), ('wide', '1', "hfov_deg 'wide'"),
     ('90', 'nan', "camera_height_m 'nan'"), ('200', '1', '0..180')],
)  # fmt: skip
def test_a_number_of_a_manifest_that_is_none_is_refused_by_its_column(tmp_path, hfov, height, why):
    write_camera(tmp_path, hfov, height)
    with pytest.raises(ValueError, match=rf'manifest\.csv: .*{why}'):
        open_dataset(tmp_path)


def write_camera(root, hfov, height):
    save(root / 'val/a.png')
    head = 'file,hfov_deg,width,height,camera_height_m'
    (root / 'val/manifest.csv').write_text(f'{head}\nval/a.png,{hfov},8,4,{height}\n')


def test_kitti_raw(tmp_path):
    drive = '2011_09_26_drive_0001_sync'
    for i in range(3):
        save(tmp_path / f'2011_09_26/{drive}/image_02/data/{i:010}.png')
        save(tmp_path / f'2011_09_26/{drive}/image_03/data/{i:010}.png')
    for root in (tmp_path, tmp_path / '2011_09_26', tmp_path / '2011_09_26' / drive):
        frames = opened(root, 'kitti_raw')
        assert [f.name for f in frames] == [f'{drive}_{i:010}' for i in range(3)]
        assert {(f.sequence, f.fps) for f in frames} == {(drive, 10)}


def test_kitti_depth(tmp_path):
    drive = '2011_09_26_drive_0002_sync'
    truth = tmp_path / f'data_depth_annotated/val/{drive}/proj_depth/groundtruth/image_02'
    save(truth / '0000000005.png', millis(256, 640))
    with pytest.raises(ValueError, match='put the raw drive'):
        open_dataset(tmp_path)
    image = save(tmp_path / f'raw/2011_09_26/{drive}/image_02/data/0000000005.png')
    save(image.with_name('0000000004.png'))  # the first five have no truth
    (frame,) = opened(tmp_path, 'kitti_depth')
    assert (frame.image, frame.sequence, frame.fps) == (image, drive, 10)
    assert frame.depth()[0, :2].tolist() == [1, 2.5] and np.isnan(frame.depth()[1]).all()


def test_kitti_depth_selection(tmp_path):
    folder = tmp_path / 'depth_selection/val_selection_cropped'
    name = '2011_09_26_drive_0002_sync_{}_0000000008_image_02.png'
    save(folder / 'image' / name.format('image'))
    save(folder / 'groundtruth_depth' / name.format('groundtruth_depth'), millis(768))
    for root in (tmp_path, folder):
        (frame,) = opened(root, 'kitti_depth')
        assert frame.depth()[0, 0] == 3 and frame.sequence == ''


def test_cityscapes(tmp_path):
    city = 'val/lindau/lindau_00000{}_000019_{}.png'
    for i in range(3):
        save(tmp_path / 'leftImg8bit' / city.format(i, 'leftImg8bit'))
    labels = np.array([0, 7, 10, 11, 23, 33], np.uint8)
    save(tmp_path / 'gtFine' / city.format(0, 'gtFine_labelIds'), ids(*labels))
    save(tmp_path / 'gtFine' / city.format(1, 'gtFine_labelTrainIds'), ids(18, 19, 255))
    a, b, c = opened(tmp_path, 'cityscapes')
    assert a.segmentation()[0].tolist() == [255, 0, 255, 2, 10, 18]
    assert b.segmentation()[0, :3].tolist() == [18, 255, 255]
    assert c.segmentation is None and c.sequence == ''


def test_cityscapes_sequence_breaks_at_gaps(tmp_path):
    for i in (10, 11, 12, 40, 41):
        save(tmp_path / f'leftImg8bit_sequence/val/hamburg/hamburg_000000_{i:06}_leftImg8bit.png')
    frames = opened(tmp_path, 'cityscapes')
    assert [f.sequence[-6:] for f in frames] == ['000010'] * 3 + ['000040'] * 2
    assert {f.fps for f in frames} == {17}


def test_coco2017(tmp_path):
    for i in (139, 285):
        save(tmp_path / f'val2017/{i:012}.jpg')
    assert opened(tmp_path, 'coco2017')[0].boxes is None
    path = tmp_path / 'annotations/instances_val2017.json'
    path.parent.mkdir()
    things = [
        {'image_id': 139, 'bbox': [1, 2, 3, 4.5], 'category_id': 90, 'iscrowd': 0},
        {'image_id': 139, 'bbox': [0, 0, 1, 1], 'category_id': 13, 'iscrowd': 0},
        {'image_id': 139, 'bbox': [0, 0, 6, 4], 'category_id': 1, 'iscrowd': 1},
    ]
    images = [{'id': i, 'file_name': f'{i:012}.jpg'} for i in (139, 285)]
    path.write_text(json.dumps({'images': images, 'annotations': things}))
    a, b = opened(tmp_path, 'coco2017')
    assert a.boxes() == [(1, 2, 4, 6.5, 1, 79), (0, 0, 1, 1, 1, 11)]
    assert b.boxes() == []


def test_coco2017_damaged_instances(tmp_path):
    save(tmp_path / 'val2017/000000000139.jpg')
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations/instances_val2017.json').write_text('{"images": [')
    with pytest.raises(ValueError, match='fetch the file again'):
        open_dataset(tmp_path)[0].boxes()


def test_hypersim_depth_is_along_the_axis(tmp_path):
    h5py = pytest.importorskip('h5py', reason='h5py reads the truth of Hypersim')
    images = tmp_path / 'ai_001_001/images'
    for i in range(2):
        save(images / f'scene_cam_00_final_preview/frame.{i:04}.tonemap.jpg')
    focal = 886.81  # of 1024 x 768, as its authors give it
    x, y = np.arange(1024) - 511.5, np.arange(768) - 383.5
    wall = 5 * np.sqrt(1 + (x / focal) ** 2 + (y[:, None] / focal) ** 2)
    wall[0, 0] = np.nan
    folder = images / 'scene_cam_00_geometry_hdf5'
    folder.mkdir()
    with h5py.File(folder / 'frame.0000.depth_meters.hdf5', 'w') as file:
        file['dataset'] = wall.astype(np.float16)
    a, b = opened(tmp_path, 'hypersim')
    depth = a.depth()
    assert np.isnan(depth[0, 0]) and np.allclose(depth[1:], 5, atol=0.01)
    assert b.depth is None and a.name == 'ai_001_001_scene_cam_00_0000'
    (folder / 'frame.0001.depth_meters.hdf5').write_text('damaged')
    with pytest.raises(ValueError, match='cannot be read'):
        open_dataset(tmp_path)[1].depth()


def test_kodak_and_div2k(tmp_path):
    save(tmp_path / 'k/kodim01.png')
    assert [f.name for f in opened(tmp_path / 'k', 'kodak')] == ['kodim01']
    save(tmp_path / 'd/DIV2K_valid_HR/0801.png')
    save(tmp_path / 'd/DIV2K_train_HR/0001.png')
    assert [f.name for f in opened(tmp_path / 'd', 'div2k')] == ['0801']
    assert [f.name for f in opened(tmp_path / 'd', 'div2k', 'train')] == ['0001']
    assert [f.name for f in opened(tmp_path / 'd/DIV2K_valid_HR', 'div2k')] == ['0801']


def test_camvid_as_published(tmp_path):
    for i in (6690, 6720, 6750):
        save(tmp_path / f'701_StillsRaw_full/0001TP_{i:06}.png')
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[0] = [
        (128, 64, 128),
        (0, 128, 192),
        (192, 128, 192),
        (64, 192, 0),
        (0, 0, 0),
        (1, 2, 3),
    ]
    save(tmp_path / 'LabeledApproved_full/0001TP_006690_L.png', colours)
    a, b, _ = opened(tmp_path, 'camvid')
    assert a.segmentation()[0].tolist() == [0, 12, 255, 3, 255, 255]
    assert b.segmentation is None and (a.sequence, a.fps) == ('0001TP', 1)


def test_camvid_as_in_segnet(tmp_path):
    for i in (7959, 7961, 7963):
        save(tmp_path / f'val/0016E5_{i:05}.png')
    save(tmp_path / 'valannot/0016E5_07959.png', ids(0, 1, 8, 11))
    frames = opened(tmp_path, 'camvid')
    assert frames[0].segmentation()[0, :4].tolist() == [10, 2, 13, 255]
    assert {(f.sequence, f.fps) for f in frames} == {('0016E5', 15)}


def test_simulated_frames_have_hazards_and_their_camera(tmp_path):
    save(tmp_path / 'moon/00000_rgb.png')
    save(tmp_path / 'moon/00000_seg.png', ids(9, 255))
    save(tmp_path / 'moon/00000_hazards.png', ids(255))
    np.save(tmp_path / 'moon/00000_depth.npy', np.full((4, 6), 2.5, np.float16))
    (tmp_path / 'frames.csv').write_text(
        'file,fx,fy,cx,cy,height_m\nmoon/00000_rgb.png,0.6,0.9,0.5,0.5,1.2\n'
    )
    (frame,) = opened(tmp_path, 'simulated')
    assert frame.segmentation()[0, :2].tolist() == [9, 255]
    assert np.argwhere(frame.hazards()).tolist() == [[0, 0]]
    assert (frame.depth() == 2.5).all() and frame.depth().dtype == np.float32
    assert frame.heights is None  # of an older version
    np.save(tmp_path / 'moon/00000_heights.npy', np.full((4, 6), 0.5, np.float16))
    assert (opened(tmp_path, 'simulated')[0].heights() == 0.5).all()
    assert (frame.camera.fx, frame.camera.fy, frame.camera.height_m) == (0.6, 0.9, 1.2)
    (tmp_path / 'frames.csv').write_text('file\nmoon/00000_rgb.png\n')
    with pytest.raises(ValueError, match='missing column'):
        open_dataset(tmp_path)


@pytest.mark.parametrize('layout', [name for name in LAYOUTS if name != 'folder'])
def test_a_folder_of_another_layout_is_refused(tmp_path, layout):
    save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=f'does not look like {layout}'):
        open_dataset(tmp_path, layout)


def test_nothing_found_is_refused(tmp_path):
    with pytest.raises(ValueError, match='give a folder of images'):
        open_dataset(tmp_path)
    with pytest.raises(ValueError, match='no such folder'):
        open_dataset(tmp_path / 'none')
    with pytest.raises(ValueError, match='give auto or one of'):
        open_dataset(tmp_path, 'kitty')


def test_truth_of_another_format_is_refused(tmp_path):
    save(tmp_path / 'val/0_1.png')
    save(tmp_path / 'valannot/0_1.png', RGB)
    with pytest.raises(ValueError, match='8 or 16 bits'):
        open_dataset(tmp_path)[0].segmentation()


def test_thin_keeps_both_ends_evenly(tmp_path):
    frames = [Frame(str(i), tmp_path) for i in range(11)]
    assert [f.name for f in thin(frames, 3)] == ['0', '5', '10']
    assert thin(frames, None) == thin(frames, 99) == frames
    assert [f.name for f in thin(frames, 1)] == ['0']
    with pytest.raises(ValueError, match='1 or more'):
        thin(frames, 0)
