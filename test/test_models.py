"""The networks' contracts: shapes, ranges, quantisation, determinism."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.labels import NUM_CLASSES
from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.flow import RESIDUAL, START_NOISE, FlowNet, linear_velocity, sample
from gsc_ros.models.perception import (
    FARTHEST_M,
    NEAREST_M,
    PerceptionNet,
    depth_to_log,
    log_to_depth,
)
from gsc_ros.models.tokenizer import (
    DEPTH_LEVELS,
    LEVELS,
    LOG2_STRIDES,
    UNKNOWN_CLASS,
    UNKNOWN_DEPTH,
    Tokenizer,
    from_symbols,
    quantise,
    to_symbols,
)
from gsc_ros.models.weights import load, save


def test_perception_gives_an_eighth_of_the_image():
    net = PerceptionNet(kinds=7).eval()
    logits, depth, kinds, standing = net(torch.zeros(2, 3, 64, 128))
    assert logits.shape == (2, NUM_CLASSES, 8, 16)
    assert depth.shape == (2, 1, 8, 16)
    assert kinds.shape == (2, 7)
    assert standing is None
    assert PerceptionNet().eval()(torch.zeros(1, 3, 64, 64)).kinds is None
    assert float(depth.min()) >= 0 and float(depth.max()) <= 1


def test_log_depth_is_inverted_within_its_range():
    metres = torch.tensor([NEAREST_M, 1.0, 12.5, FARTHEST_M])
    torch.testing.assert_close(log_to_depth(depth_to_log(metres)), metres, rtol=1e-4, atol=1e-4)
    assert float(depth_to_log(torch.tensor(1e6))) == 1.0


def test_autoencoder_keeps_the_size_and_bounds_the_latent():
    net = Autoencoder()
    z = net.encoder(torch.randn(1, 3, 64, 128) * 10)
    assert z.shape == (1, 16, 4, 8)
    assert float(z.abs().max()) <= 3
    assert net.decoder(z).shape == (1, 3, 64, 128)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(LEVELS) - 1), st.integers(0, 2**31 - 1))
def test_every_symbol_survives_quantisation(level, seed):
    levels = LEVELS[level]
    rng = np.random.default_rng(seed)
    symbols = torch.from_numpy(np.stack([rng.integers(0, n, (3, 4)) for n in levels])[None])
    grid = from_symbols(symbols, levels)
    assert torch.equal(to_symbols(grid, levels), symbols)
    # A quantised value is a fixed point: what was rounded once is not moved again.
    inside = torch.atanh(grid.clamp(-0.999, 0.999))
    assert torch.equal(to_symbols(quantise(inside, levels), levels), symbols)


def test_prediction_ignores_tokens_that_were_not_received():
    torch.manual_seed(1)
    net = Tokenizer().eval()
    tokens = net.analyse(torch.randn(1, 16, 8, 8))
    assert [tuple(t.shape[1:]) for t in tokens] == [
        (4, 2, 2), (3, 4, 4), (2, 8, 8), (4, 8, 8)
    ]  # fmt: skip
    masks = [torch.zeros(1, 1, *t.shape[2:]) for t in tokens]
    layout = torch.full((1, 8, 8), UNKNOWN_CLASS)
    coarse_depth = torch.full((1, 2, 2), UNKNOWN_DEPTH)
    one = net.predictor(tokens, masks, layout, coarse_depth)
    other = net.predictor([-t for t in tokens], masks, layout, coarse_depth)
    assert torch.equal(one.latent, other.latent)
    assert one.segmentation.shape == (1, NUM_CLASSES, 16, 16)
    # Depth follows the coarse depth that was sent.
    near, far = (
        net.predictor(tokens, masks, layout, torch.full((1, 2, 2), level)).depth
        for level in (2, DEPTH_LEVELS - 3)
    )
    assert float(near.max()) < float(far.min())
    masks[0] += 1
    assert not torch.equal(
        net.predictor(tokens, masks, layout, coarse_depth).features, one.features
    )


def test_an_untrained_flow_returns_the_prediction_and_the_noise_decides_the_image():
    net = FlowNet((3, 5)).eval()
    prediction, features = torch.randn(1, 16, 4, 4), torch.randn(1, 128, 4, 4)
    words = torch.zeros(1, 2, 2, dtype=torch.long)
    noise = torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        # The exit starts at zero: only the linear estimate is left.
        torch.testing.assert_close(
            sample(net, prediction, features, words, noise, 1), prediction, rtol=0, atol=1e-6
        )
        drawn = sample(net, prediction, features, words, noise, 3)
        assert torch.equal(drawn, sample(net, prediction, features, words, noise, 3))
        assert not torch.equal(drawn, sample(net, prediction, features, words, -noise, 3))


def test_one_step_is_the_prediction_and_two_are_not():
    prediction, features = torch.randn(1, 16, 4, 4), torch.randn(1, 128, 4, 4)
    words, noise = torch.zeros(1, 2, 2, dtype=torch.long), torch.randn(1, 16, 4, 4)
    net = FlowNet((3, 5)).eval()
    torch.nn.init.normal_(net.exit.weight)  # else the network adds nothing to the linear estimate
    with torch.no_grad():
        one, two = (sample(net, prediction, features, words, noise, steps) for steps in (1, 2))
    assert torch.equal(one, prediction)
    assert not torch.equal(two, prediction)


def test_the_linear_velocity_is_the_best_linear_one():
    torch.manual_seed(0)
    residual = RESIDUAL**0.5 * torch.randn(1, 1, 400, 400)
    noise = START_NOISE * torch.randn(1, 1, 400, 400)
    for t in (0.0, 0.3, 0.7, 1.0):
        x = (1 - t) * residual + t * noise  # around a prediction of zero
        estimate = linear_velocity(x, torch.tensor([t]), torch.zeros_like(x))
        error = noise - residual - estimate
        assert abs(float((error * x).mean())) < 0.01  # what is left has nothing to do with x


def test_weights_come_back_with_their_configuration(tmp_path):
    net = PerceptionNet(widths=(8, 8, 8))
    path = save(tmp_path / 'net.safetensors', net.state_dict(), net.config)
    state, config = load(path)
    again = PerceptionNet(**config)
    again.load_state_dict(state)
    torch.testing.assert_close(again.depth.weight, net.depth.weight.half().float(), rtol=0, atol=0)
    for name, value in net.state_dict().items():
        off = (again.state_dict()[name].float() - value.float()).abs().max()
        assert float(off) <= 0.006 * float(value.float().abs().max()) + 1e-6, name


def test_missing_and_foreign_weights_name_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match='gsc train'):
        load(tmp_path / 'none.safetensors')
    foreign = tmp_path / 'foreign.safetensors'
    foreign.write_bytes(b'not weights')
    with pytest.raises(ValueError, match='not a weights file'):
        load(foreign)


def test_stages_that_see_the_same_of_all_frames_run_once():
    net = Tokenizer().predictor.eval()
    tokens = [
        torch.zeros(2, len(n), 16 >> (s + 1), 16 >> (s + 1))
        for n, s in zip(LEVELS, LOG2_STRIDES, strict=True)
    ]
    masks = [torch.ones(2, 1, *t.shape[2:]) for t in tokens]
    tokens[3][1] = 1.0  # of the second frame
    layout, depth = torch.zeros(2, 8, 8, dtype=torch.long), torch.full((2, 2, 2), 3)
    seen = []
    for stage in (net.sixtyfourth, net.thirtysecond, net.sixteenth):
        stage.register_forward_hook(lambda module, given, made: seen.append(len(given[0])))
    with torch.no_grad():
        both = net(tokens, masks, layout, depth)
        alone = [
            net([t[i : i + 1] for t in tokens], [m[:1] for m in masks], layout[:1], depth[:1])
            for i in range(2)
        ]
    assert seen[:3] == [1, 1, 2]
    for i, one in enumerate(alone):
        torch.testing.assert_close(both.latent[i : i + 1], one.latent)
    assert not torch.equal(both.latent[0], both.latent[1])
    net(tokens, masks, layout, depth)  # with gradients nothing is left out
    assert seen[-3:] == [2, 2, 2]
