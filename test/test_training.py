"""Every stage of training runs, resumes and writes what the codec loads, on a miniature corpus."""

import csv
import os
import socket
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from gsc_ros.codec import FrameEncoder, SemanticCodec
from gsc_ros.codec.prior import Prior
from gsc_ros.labels import UNLABELLED
from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.hazards import HazardHead
from gsc_ros.models.perception import REFERENCE_PX, PerceptionNet, log_to_depth
from gsc_ros.models.precision import fast_bfloat16
from gsc_ros.models.tokenizer import UNKNOWN_CLASS, UNKNOWN_DEPTH, Synthesis, Tokenizer
from gsc_ros.models.weights import FOLDER, load, save
from gsc_ros.training import (
    autoencoder,
    corpus,
    critics,
    flow,
    generator,
    hazards,
    loop,
    pack,
    perception,
    prior,
    tokens,
    windows,
    words,
)
from gsc_ros.training.augment import SHIFTS, augment_pairs
from gsc_ros.training.crops import Crops, window
from gsc_ros.training.optimiser import Optimiser
from gsc_ros.training.windows import Window

CRITICS = """
import torch
from torch.nn import functional
_projection = torch.randn(20, 3, 1, 1, generator=torch.Generator().manual_seed(0))
def features(x):
    return [functional.avg_pool2d(x, 4), segment(x)]
def segment(x):
    return functional.conv2d(functional.avg_pool2d(x, 8), _projection)
def depth(x):
    return functional.avg_pool2d(x, 8).mean(1, keepdim=True)
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A corpus of six images with labels as the manifest names them."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    (root / 'train').mkdir()
    rows = []
    for i in range(6):
        blocks = rng.integers(0, 256, (16, 16, 3), np.uint8)
        cv2.imwrite(str(root / f'train/{i}.png'), np.kron(blocks, np.ones((16, 16, 1), np.uint8)))
        classes = np.kron(rng.integers(0, 20, (8, 8)), np.ones((16, 16))).astype(np.uint8)
        cv2.imwrite(str(root / f'train/{i}_seg.png'), classes)
        depth = rng.integers(0, 255, (64, 64)).astype(np.uint8)
        depth[:8] = 255
        cv2.imwrite(str(root / f'train/{i}_depth.png'), depth)
        rows.append(
            {
                'file': f'train/{i}.png',
                'kind': 'driving',
                'teacher_seg': f'train/{i}_seg.png' if i else '',
                'teacher_depth': f'train/{i}_depth.png' if i else '',
                'has_seg': '',
                'seg_file': '',
            }
        )
    with open(root / 'train/manifest.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (root / 'critics.py').write_text(CRITICS)
    return root


def settings(folder, steps=2):
    return loop.Settings(folder, steps=steps, warmup=1, threads=2)


def test_a_device_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"'cuda:99'.*this machine has cpu"):
        _ = loop.Settings(tmp_path, device='cuda:99').torch_device


@pytest.mark.slow
def test_all_stages_in_turn_make_a_codec(data, tmp_path):
    out, judges = tmp_path / 'w', data / 'critics.py'
    seeing = perception.train(data, settings(out), batch=2)
    hazards.add(seeing, HazardHead(PerceptionNet().seen), seeing)
    autoencoder.train(data, settings(out / 'a'), judges, batch=2)
    (out / 'a/autoencoder.safetensors').rename(out / 'autoencoder.safetensors')
    tokens.train(data, settings(out / 't'), judges, out, batch=2)
    for name in ('autoencoder', 'tokenizer'):
        (out / f't/{name}.safetensors').rename(out / f'{name}.safetensors')
    generator.train(data, settings(out / 'g'), judges, out, batch=2)
    (out / 'g/generator.safetensors').rename(out / 'generator.safetensors')
    flow.train(data, settings(out / 'f'), judges, out, batch=2)
    (out / 'f/flow.safetensors').rename(out / 'flow.safetensors')
    prior.train(data, settings(out / 'p', 30), out, batch=2)
    (out / 'p/prior.safetensors').rename(out / 'prior.safetensors')
    codec = SemanticCodec.load(weights=out)
    rgb = cv2.imread(str(data / 'train/0.png'))
    frame = codec.encode(rgb, 200)
    assert codec.decode(frame.data).rgb.shape == rgb.shape
    assert codec.fingerprint == SemanticCodec.load(weights=out).fingerprint
    # A learned prior shortens what it was learned from.
    plain = FrameEncoder(replace(codec.networks.robot, prior=Prior.uniform()))
    before, after = plain.encode(rgb, 200).stream_bits, frame.stream_bits
    for part in ('caption', 'coarse', 'coarse_depth', 'tokens0'):  # fit whole
        assert after[part] < before[part]


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 1)

    steps = iter(range(1000))

    def step():
        seldom = {'seldom': torch.tensor(0.5)} if next(steps) == 75 else {}
        return {**seldom, 'loss': net(torch.ones(4, 2)).square().mean()}

    loop.run(net, step, settings(tmp_path, 60))
    saved = torch.load(tmp_path / 'checkpoint.pt', weights_only=True)
    assert saved['done'] == 60
    average = loop.run(net, step, settings(tmp_path, 110))
    saved = torch.load(tmp_path / 'checkpoint.pt', weights_only=True)
    assert saved['done'] == 110
    assert not torch.equal(average['weight'], saved['model']['weight'])
    resumed = loop.run(net, step, settings(tmp_path, 110))  # nothing is left to do
    for name, value in average.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)
    curve = list(csv.DictReader((tmp_path / 'curve.csv').open()))
    assert [row['step'] for row in curve] == ['50', '100']
    assert float(curve[1]['loss']) < float(curve[0]['loss'])
    # What is not measured in every step has its own column all the same.
    assert [row['seldom'] for row in curve] == ['', '0.50000']


def test_the_average_is_exponential_and_forgets_where_it_began():
    net = torch.nn.BatchNorm1d(1)
    average = loop.exponential_average(net, 0.9)
    values = torch.arange(1.0, 400.0)
    expected = 1.0  # the first value replaces where the net began
    for step, value in enumerate(values.tolist(), start=1):
        with torch.no_grad():
            net.weight.fill_(value)
            net.running_mean.fill_(-value)
            net.num_batches_tracked.fill_(step)
        average.update_parameters(net)
        if step > 1:
            share = min(0.9, step / (step + 20))
            expected = share * expected + (1 - share) * value
        assert float(average.module.weight.detach()) == pytest.approx(expected, rel=1e-5)
    # In the long run it lags behind a ramp by 0.9 / (1 - 0.9) steps.
    assert float(average.module.weight.detach()) == pytest.approx(399 - 9, abs=0.01)
    assert float(average.module.running_mean) == pytest.approx(-390, abs=0.01)
    assert int(average.module.num_batches_tracked) == 399


def test_a_checkpoint_of_other_names_is_refused_and_named(tmp_path):
    net = torch.nn.Linear(2, 1)

    def step():
        return {'loss': net(torch.ones(4, 2)).square().mean()}

    loop.run(net, step, settings(tmp_path))
    saved = torch.load(tmp_path / 'checkpoint.pt', weights_only=True)
    saved['average'] = saved['model']  # as before averages were those of torch
    torch.save(saved, tmp_path / 'checkpoint.pt')
    with pytest.raises(ValueError, match='convert_weight_names'):
        loop.run(net, step, settings(tmp_path, 4))


PROCESS = """
import sys
from pathlib import Path
import torch
from gsc_ros.training import loop, processes
rank = processes.join()
torch.manual_seed(rank)  # they begin apart, and are brought together
net = torch.nn.Linear(2, 1)
unused = torch.nn.Linear(1, 1)
model = torch.nn.ModuleList([net, unused])
begun = []
def step():
    begun.append(net.weight.detach().clone())
    return {'loss': (net(torch.ones(1, 2) * (1 + 2 * rank))).sum()}
folder = Path(sys.argv[1])
try:
    state = loop.run(model, step, loop.Settings(folder, steps=3, warmup=1, device='cpu'))
    assert processes.first()
except SystemExit:
    assert not processes.first()
torch.save((begun, net.weight.detach(), net.weight.grad), folder / f'{rank}.pt')
"""


def test_several_processes_step_alike_along_the_mean_of_their_gradients(tmp_path):
    (tmp_path / 'process.py').write_text(PROCESS)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    group = {'TORCHELASTIC_RUN_ID': 'x', 'WORLD_SIZE': '2', 'PYTHONPATH': os.getcwd()}
    group |= {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port), 'OMP_NUM_THREADS': '1'}
    words = [sys.executable, str(tmp_path / 'process.py'), str(tmp_path)]
    started = [
        subprocess.Popen(words, env={**os.environ, **group, 'RANK': str(rank)})
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    (begun, last, gradient), (other_begun, other_last, _) = (
        torch.load(tmp_path / f'{rank}.pt') for rank in range(2)
    )
    for mine, theirs in zip([*begun, last], [*other_begun, other_last], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert not torch.equal(begun[0], last)
    # Gradients of 1 and 3 meet at 2, and are then cut to a norm of 1 with the bias's of 1.
    torch.testing.assert_close(gradient, torch.full((1, 2), 2 / 3))
    saved = torch.load(tmp_path / 'checkpoint.pt', weights_only=True)
    assert saved['done'] == 3
    torch.testing.assert_close(saved['model']['0.weight'], last)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_muon_steps_along_orthogonal_kernels(layout):
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 4, 3).to(memory_format=layout)
    before = net.weight.detach().clone()
    optimiser = Optimiser(list(net.parameters()), weight_decay=0.0, muon=True)
    net(torch.rand(2, 3, 5, 5).contiguous(memory_format=layout)).square().sum().backward()
    gradient = net.weight.grad.clone()
    optimiser.step(rate=0.01)
    moved = (net.weight.detach() - before).flatten(1)
    assert float((moved * gradient.flatten(1)).sum()) < 0
    sizes = torch.linalg.svdvals(moved)
    assert sizes.max() < 2 * sizes.min()
    # As AdamW's: the root mean square of a step is a fifth of the rate.
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.002, rel=0.3)
    # What took no part in a step stays where it is.
    net.zero_grad()
    after = net.weight.detach().clone()
    optimiser.step(rate=0.01)
    assert torch.equal(net.weight, after)


def test_a_run_is_resumed_with_the_optimiser_that_it_began_with(tmp_path):
    net = torch.nn.Conv2d(1, 1, 3)

    def step():
        return {'loss': net(torch.ones(1, 1, 4, 4)).square().mean()}

    muon = replace(settings(tmp_path), muon=True)
    loop.run(net, step, muon)
    loop.run(net, step, replace(muon, steps=4))
    assert torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['done'] == 4
    with pytest.raises(ValueError, match='--muon'):
        loop.run(net, step, settings(tmp_path, 6))


def test_crops_and_labels_stay_together(data):
    samples = [s for s in corpus.load(data) if s.segmentation is not None]
    for sample in samples:  # the image itself says where its labels are from
        sample.rgb = sample.segmentation[..., None].repeat(4, 0).repeat(4, 1).repeat(3, 2) * 12
    crops = Crops(samples, (128, 64), torch.device('cpu'), seed=1)
    for _ in range(4):
        x, classes, depth = crops.cut(range(len(samples)))
        assert x.shape == (len(samples), 3, 64, 128)
        assert classes.shape == depth.shape == (len(samples), 16, 32)
        assert -1 <= float(x.min()) < float(x.max()) <= 1
        for image, labels, sample in zip(x, classes, samples, strict=True):
            assert set(labels.unique().tolist()) <= set(np.unique(sample.segmentation).tolist())
            # Colours vary, but brighter is brighter still: ids and pixels rise together.
            grey, known = image.mean(0)[2::4, 2::4], labels != UNLABELLED
            pair = torch.stack([grey[known], labels[known].float()])
            assert float(torch.corrcoef(pair)[0, 1]) > 0.8
        assert ((depth >= 0) | (depth == float(corpus.NO_DEPTH))).all()


def test_windows_lie_in_the_image_and_have_the_wanted_aspect():
    rng = np.random.default_rng(0)
    for image in ((128, 64), (640, 384), (1152, 384), (64, 64)):
        for _ in range(50):
            at = window(image, (128, 96), rng, 1.6)
            assert 0 <= at.x <= image[0] - at.width and 0 <= at.y <= image[1] - at.height
            assert at.width <= 1.6 * 128 + 4 and abs(at.width / at.height - 4 / 3) < 0.2


def test_a_part_of_a_batch_has_labels_and_a_receiver_has_less_than_was_sent(data, tmp_path):
    perception.train(data, settings(tmp_path), batch=2)
    written = autoencoder.train(data, settings(tmp_path / 'a'), data / 'critics.py', batch=2)
    written.rename(tmp_path / written.name)
    samples = corpus.load(data)
    sampler = tokens.BatchSampler(tmp_path, samples, (128, 64), 40, 0, torch.device('cpu'))
    batch = sampler.sample()
    assert batch.labelled == round(tokens.LABELLED * 40)
    assert (batch.labels[: batch.labelled] != 255).flatten(1).any(1).all()
    sent = Tokenizer().analyse(sampler.autoencoder.encoder(batch.x))
    masks, layout, coarse_depth = sampler.received(batch, sent)
    shares = torch.stack([mask.mean((1, 2, 3)) for mask in masks])
    # A level begins when the one before is whole.
    assert ((shares[:-1] == 1) | (shares[1:] == 0)).all()
    assert (shares == 1).any() and (shares == 0).any() and ((shares > 0) & (shares < 1)).any()
    laid, depth = ((x != y).flatten(1).any(1) for x, y in (
        (layout, UNKNOWN_CLASS), (coarse_depth, UNKNOWN_DEPTH),
    ))  # fmt: skip
    assert not (laid & ~depth).any()
    # A place where no class applies has depth and tokens, and no layout; few streets are such.
    street, elsewhere = (
        (laid & depth)[part].sum() / depth[part].sum()
        for part in (slice(batch.labelled), slice(batch.labelled, None))
    )
    assert elsewhere < 0.6 < street
    assert (layout == batch.layout).flatten(1).all(1).any()


def test_a_receiver_alone_is_trained_and_what_is_sent_stays(data, tmp_path):
    perception.train(data, settings(tmp_path), batch=2)
    for name, net in (('autoencoder', Autoencoder()), ('tokenizer', Tokenizer())):
        save(tmp_path / f'{name}.safetensors', net.state_dict(), net.config)
    out = tmp_path / 't'
    judges = data / 'critics.py'
    tokens.train(data, settings(out), judges, tmp_path, batch=2, receiver_only=True, realism=True)
    trained = torch.load(out / 'checkpoint.pt', weights_only=True)['model']
    assert any(key.startswith('realism.heads') for key in trained)
    for name, sent in (('autoencoder', 'encoder.'), ('tokenizer', 'analysis.')):
        before, after = (load(f / f'{name}.safetensors')[0] for f in (tmp_path, out))
        moved = {key for key in before if not torch.equal(before[key], after[key])}
        assert moved
        assert not any(key.startswith(sent) for key in moved)


def test_a_packed_corpus_is_the_same_corpus_made_small(data, tmp_path):
    packed = corpus.load(pack.export(data, tmp_path / 'small', megabytes=0.3))
    whole = corpus.load(data)
    assert [s.kind for s in packed] == [s.kind for s in whole]
    for small, sample in zip(packed, whole, strict=True):
        assert np.abs(small.rgb.astype(float) - sample.rgb).mean() < 10
        assert small.focal == pytest.approx(sample.focal, rel=1e-3)
        for mine, true in (
            (small.segmentation, sample.segmentation),
            (small.log_depth, sample.log_depth),
        ):
            assert (mine is None) == (true is None)
        if sample.segmentation is not None:
            np.testing.assert_array_equal(small.segmentation, sample.segmentation)
            np.testing.assert_array_equal(small.log_depth < 0, sample.log_depth < 0)
            assert np.abs(small.log_depth.astype(float) - sample.log_depth).max() < 0.01


def test_packing_thins_sequences_and_says_when_images_do_not_fit(data, tmp_path):
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    sequence = [corpus.Sample('', '', views[i], sequence='drive') for i in (0, 0, 0, 1, 1, 0)]
    kept = pack.thinned(sequence)
    assert [id(s) for s in kept] == [id(sequence[i]) for i in (0, 3, 5)]
    assert len(pack.thinned([corpus.Sample('', '', views[0])] * 3)) == 3  # not a sequence
    with pytest.raises(ValueError, match='allow more'):
        pack.export(data, tmp_path / 'small', megabytes=0.001)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(ValueError, match='no images'):
        corpus.load(tmp_path)
    with pytest.raises(ValueError, match='labelled'):
        cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((64, 64, 3), np.uint8))
        perception.train(tmp_path, settings(tmp_path / 'o'))


def test_a_stage_trains_in_bfloat16(data, tmp_path):
    low = replace(settings(tmp_path), bfloat16=True)
    assert autoencoder.train(data, low, data / 'critics.py', batch=1).is_file()
    assert replace(low, bfloat16=None, device='cpu').mixed == fast_bfloat16()


def test_critics_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match='critics'):
        critics.load(None)
    (tmp_path / 'c.py').write_text('def features(x): return [x]')
    with pytest.raises(ValueError, match='segment, depth'):
        critics.load(tmp_path / 'c.py')


def test_critics_losses_vanish_for_the_same_image_and_pull_a_worse_one(data):
    judges = critics.load(data / 'critics.py')
    true = torch.rand(2, 3, 64, 64) * 2 - 1
    made = (true + 0.3 * torch.randn_like(true)).requires_grad_()
    assert float(critics.depth_loss(true, true, judges)) == 0

    def class_loss(images):
        torch.manual_seed(0)  # the same shifts for both
        return critics.class_loss(images, true, judges, torch.ones(20))

    assert float(class_loss(made).detach()) > float(class_loss(true))
    (gradient,) = torch.autograd.grad(class_loss(made), made)
    short = critics.clip_norm_per_sample(gradient, gradient / 10)
    torch.testing.assert_close(short, gradient / 10)
    torch.testing.assert_close(critics.clip_norm_per_sample(gradient, gradient * 3), gradient)


def test_pairs_are_placed_alike_and_gradients_reach_every_pixel():
    torch.manual_seed(0)
    true = torch.rand(2, 3, 40, 48)
    made = true.clone().requires_grad_()
    shapes = set()
    for _ in range(20):
        a, b = augment_pairs(made, true)
        torch.testing.assert_close(a, b, rtol=0, atol=0)
        shapes.add(a.shape)
        (gradient,) = torch.autograd.grad(a.sum(), made)
        assert (gradient > 0).all()
    whole = torch.Size([2, 3, 40 + SHIFTS, 48 + SHIFTS])
    assert whole in shapes and len(shapes) > 5  # not scaled in half of the calls


def test_shifts_are_uniform_and_half_the_images_are_mirrored():
    torch.manual_seed(0)
    image = torch.zeros(64, 1, 64, 64)
    image[:, :, 31, 20] = 1  # more than a shift from the middle, so that sides differ
    found = []
    for _ in range(80):
        moved, _ = augment_pairs(image, image)
        if moved.shape[2] == 64 + SHIFTS:
            peaks = moved.flatten(1).argmax(1)
            found += [(int(i) // moved.shape[3] - 31, int(i) % moved.shape[3]) for i in peaks]
    down = np.array([d for d, _ in found])
    mirrored = np.array([x > 36 for _, x in found])
    right = np.array([63 + SHIFTS - x if x > 36 else x for _, x in found]) - 20
    assert mirrored.mean() == pytest.approx(0.5, abs=0.05)
    for shifts in (down, right):
        counts = np.bincount(shifts, minlength=SHIFTS)
        assert len(counts) == SHIFTS
        # Chi-squared of 15 degrees of freedom: over 38 once in a thousand.
        expected = len(found) / SHIFTS
        assert ((counts - expected) ** 2 / expected).sum() < 38


def test_a_critic_cannot_be_learnt_by_its_phase():
    """A strided critic that reads every fourth pixel is not pleased by those alone."""
    torch.manual_seed(0)

    class Strided:
        @staticmethod
        def features(x):
            return [x[..., ::4, ::4]]

    true = torch.rand(4, 3, 64, 64) * 2 - 1
    made = torch.zeros_like(true)
    made[..., ::4, ::4] = true[..., ::4, ::4]
    alike = critics.feature_distance(Strided.features(made), Strided.features(true))
    assert float(alike.mean()) == pytest.approx(0, abs=1e-6)
    losses = [float(critics.image_losses(made, true, Strided)['feature']) for _ in range(30)]
    assert np.mean(losses) > 0.05
    made.requires_grad_()
    gradients = sum(
        torch.autograd.grad(critics.image_losses(made, true, Strided)['feature'], made)[0].abs()
        for _ in range(60)
    )
    by_phase = gradients.view(4, 3, 16, 4, 16, 4)[..., 1:-1, :, 1:-1, :].mean((0, 1, 2, 4))
    assert float(by_phase.flatten()[1:].min()) > 0.3 * float(by_phase.flatten()[1:].max())


def test_pairs_that_cannot_be_placed_alike():
    with pytest.raises(ValueError, match='same shape'):
        augment_pairs(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 48))
    with pytest.raises(ValueError, match='sides over 16'):
        augment_pairs(torch.rand(1, 3, 16, 32), torch.rand(1, 3, 16, 32))


def test_depth_is_taught_as_seen_by_one_camera():
    rgb, log_depth = np.zeros((64, 128, 3), np.uint8), np.full((16, 32), 0.5, np.float16)
    log_depth[0] = corpus.NO_DEPTH
    near, far = (
        corpus.Sample('', '', rgb, log_depth=log_depth, focal=REFERENCE_PX / 128 * times)
        for times in (1, 2)
    )
    crops = Crops([near, far], (128, 64), torch.device('cpu'), zoom=1.0)
    _, _, depth = crops.cut([0, 1])
    assert (depth[:, 0] == float(corpus.NO_DEPTH)).all()
    metres = log_to_depth(depth[:, 1:])
    assert torch.allclose(metres[0], log_to_depth(torch.tensor(0.5)), rtol=1e-3)
    assert torch.allclose(metres[1], metres[0] / 2, rtol=1e-3)  # a longer lens brings it nearer


def test_true_depth_and_the_camera_are_read(data, tmp_path):
    (tmp_path / 'train').mkdir()
    rgb, depth = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint16)
    depth[32:] = 3000
    cv2.imwrite(str(tmp_path / 'train/a.png'), rgb)
    cv2.imwrite(str(tmp_path / 'train/d.png'), depth)
    (tmp_path / 'train/manifest.csv').write_text(
        'file,has_depth,depth_file,hfov_deg\ntrain/a.png,gt:kinect_u16_mm,train/d.png,90\n'
    )
    (sample,) = corpus.load(tmp_path)
    assert (sample.log_depth[:8] == corpus.NO_DEPTH).all()
    metres = log_to_depth(torch.from_numpy(sample.log_depth[8:].astype(np.float32)))
    assert torch.allclose(metres, torch.tensor(3.0), rtol=0.01)
    assert sample.focal == pytest.approx(0.5)


def test_a_long_video_is_not_drawn_more_often_than_its_root():
    samples = [
        corpus.Sample(f'{f}/{i}', '', None) for f, n in (('a', 16), ('b', 4)) for i in range(n)
    ]
    share = perception.chances(samples)
    assert share.sum() == pytest.approx(1)
    assert share[:16].sum() == pytest.approx(2 * share[16:].sum())


def test_only_the_later_stages_of_the_backbone_are_trained_and_slowly(data, tmp_path):
    before, _ = load(FOLDER / 'perception.safetensors', 'backbone')
    after, _ = load(perception.train(data, settings(tmp_path), batch=2))
    moved = {name.split('.')[2] for name in before if not torch.equal(before[name], after[name])
             and name.startswith('backbone.stages')}  # fmt: skip
    assert moved and moved <= {'3', '4', '5', '6'}
    assert torch.equal(before['backbone.stem.0.weight'], after['backbone.stem.0.weight'])
    fast, slow = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimiser = Optimiser([fast, slow], 0.0, slow=[slow])
    (fast + slow).backward()
    optimiser.step(0.1)
    assert float(1 - slow) == pytest.approx(0.1 * float(1 - fast), rel=1e-3)


def keep_few_windows(monkeypatch):
    for name, small in (('FIRST', 2), ('FILL_EVERY', 2), ('KEPT', 3)):  # the oldest give way
        monkeypatch.setattr(windows, name, small)


def test_the_stage_of_the_generator_trains_a_decoder_beside_the_other(data, tmp_path, monkeypatch):
    keep_few_windows(monkeypatch)
    first, second = tmp_path / 'o', tmp_path / 'p'
    path = generator.train(data, settings(first), data / 'critics.py', FOLDER, batch=2)
    assert path == first / 'generator.safetensors'
    began = load(FOLDER / 'autoencoder.safetensors', 'decoder')[0]
    made = load(path)[0]
    moved = {k for k, v in made.items() if not torch.equal(v, began[f'decoder.{k}'])}
    assert len(moved) > len(made) / 2
    for own in FOLDER.glob('*.safetensors'):
        if own.name != path.name:
            (first / own.name).symlink_to(own)
    # It is drawn by, and is where the next training starts.
    image = cv2.imread(str(data / 'train/0.png'))
    codec = SemanticCodec.load(weights=first, device='cpu')
    frame = codec.read(codec.encode(image, 200).data)
    assert (codec.render([frame])[0].rgb != codec.render([frame], 0)[0].rgb).any()
    no_rate = replace(settings(second, 1), learning_rate=0.0)
    again = load(generator.train(data, no_rate, data / 'critics.py', first, batch=2))[0]
    for name, value in made.items():
        torch.testing.assert_close(
            again[name], value, rtol=0, atol=0.05 * float(value.abs().max())
        )


def test_the_stage_of_pseudo_words_makes_a_codec_with_them(data, tmp_path, monkeypatch):
    keep_few_windows(monkeypatch)
    for name, small in (('LATENTS', 3), ('IMAGE_EVERY', 2)):
        monkeypatch.setattr(words, name, small)
    path = words.train(data, settings(tmp_path / 'o', 3), data / 'critics.py', FOLDER, batch=2)
    assert path == tmp_path / 'o/pseudo_words.safetensors'
    state, _ = load(path)
    # The layer that began at zero has moved, and what the words say has been counted.
    assert state['reader.add.weight'].abs().max() > 0
    assert int(state['tables'].min()) < 0
    for own in FOLDER.glob('*.safetensors'):
        (tmp_path / own.name).symlink_to(own)
    path.rename(tmp_path / path.name)
    codec = SemanticCodec.load('mtgc', tmp_path, device='cpu')
    rgb = cv2.imread(str(data / 'train/0.png'))
    frame = codec.encode(rgb, 300)
    assert len(codec.read(frame.data).symbols.pseudo_words) == 4
    assert codec.decode(frame.data).rgb.shape == rgb.shape


def test_a_task_s_loss_counts_where_it_matters():
    classes = torch.zeros(1, 4, 4, dtype=torch.uint8)
    classes[0, 0, 0] = 13  # a car, near; else road
    nothing = torch.zeros(1, 1, 2, 2)
    near = torch.full((1, 1, 4, 4), 0.1)
    window = Window(*[nothing] * 6, classes, near, torch.tensor([True]))
    logits = torch.zeros(1, 20, 4, 4)
    logits[:, 0] = 5.0  # all is road
    off = near.clone()
    off[0, 0, 3, 3] += 0.2  # wrong on the ground
    out = Synthesis(nothing, nothing, logits, off)
    weight = torch.ones(20)
    told = {task: float(words.task_loss(task, out, window, weight)) for task in words.TASKS}
    assert told['detection'] > 4.5 > 1 > told['segmentation']
    assert told['hazards'] == 0 < told['depth']
