"""The loss on patterns finds those of the decoder's grid, and no others."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gsc_ros.training.pattern import harmonics, pattern_loss, without_harmonics
from gsc_ros.training.tokens import image_gradient


def scene(seed: int) -> torch.Tensor:
    """Make images (4, 3, 256, 256) of noise with the spectrum of the world, one over frequency."""
    white = torch.randn(4, 3, 256, 256, generator=torch.Generator().manual_seed(seed))
    down, across = torch.fft.fftfreq(256)[:, None], torch.fft.rfftfreq(256)
    frequency = (down.square() + across.square()).sqrt().clamp(min=1 / 256)
    return 0.02 * torch.fft.irfft2(torch.fft.rfft2(white) / frequency) / 4


def tiles(period: int, strength: float) -> torch.Tensor:
    """Make a pattern (1, 3, 256, 256) that repeats with a period."""
    tile = torch.randn(1, 1, period, period, generator=torch.Generator().manual_seed(period))
    count = 256 // period + 1
    return strength * (tile - tile.mean()).repeat(1, 3, count, count)[..., :256, :256]


@pytest.mark.parametrize('period', [4, 8, 16])
def test_a_pattern_of_the_grid_is_found_wherever_it_lies(period):
    torch.manual_seed(0)
    true = scene(0)
    within = torch.zeros(1, 1, 256, 256)
    within[..., 40:168, 60:156] = 1
    for mask in (torch.ones(()), within):
        local, _ = harmonics(true + mask * tiles(period, 0.1))
        ratios = torch.cat([torch.ones(1), local]).view(16, 9)
        of_period = ratios[:: 16 // period, :: 16 // period].flatten()[1:]
        assert float(of_period.mean()) > 4
        assert float(pattern_loss(true + mask * tiles(period, 0.1), true)) > 1.5 * float(
            pattern_loss(scene(1), true)
        )


def test_images_of_the_world_have_none():
    torch.manual_seed(0)
    for image in (scene(1), scene(0).flip(3).roll((5, 3), (2, 3))):
        local, whole = harmonics(image)
        assert float(local.mean()) == pytest.approx(1.0, abs=0.25)
        assert float(whole.mean()) == pytest.approx(1.0, abs=0.25)


def test_steps_along_the_gradient_take_the_pattern_and_little_else():
    torch.manual_seed(0)
    true = scene(0)
    made = true + tiles(16, 0.05)
    before = float(pattern_loss(made, true))
    for _ in range(60):
        made.requires_grad_()
        (slope,) = torch.autograd.grad(pattern_loss(made, true), made)
        made = (made - 0.3 * slope / slope.norm()).detach()
    assert float(pattern_loss(made, true)) < 0.5 * before
    assert float((made - true).square().mean()) < 0.05**2


def test_images_smaller_than_a_window_are_refused():
    with pytest.raises(ValueError, match='64 pixels and more, not 96x48'):
        harmonics(torch.zeros(1, 3, 48, 96))


def test_the_filter_takes_harmonics_and_little_else():
    clean = scene(0)[0] * 4
    marked = clean + tiles(16, 0.04)[0]

    def to_rgb(x):
        return (x * 127.5 + 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    def apart(a, b):
        return float(np.square(a.astype(float) - b).mean())

    original, image = to_rgb(clean), to_rgb(marked)
    assert apart(without_harmonics(image), original) < 0.6 * apart(image, original)
    assert apart(without_harmonics(image, 2), original) > 0.9 * apart(image, original)
    assert apart(without_harmonics(original), original) < 0.2 * apart(image, original)


def test_the_loss_pulls_no_harder_than_its_share_of_the_likeness():
    true = scene(0)
    drawn = true + tiles(16, 0.05)
    batch, sampler = SimpleNamespace(x=true, labelled=0), SimpleNamespace(count=int, batch=4)
    judges = SimpleNamespace(features=lambda x: [x])
    found = {}
    for share in (0.0, 0.25):
        torch.manual_seed(0)
        found[share], losses = image_gradient(drawn, batch, sampler, judges, torch.ones(1), share)
        assert ('pattern' in losses) == (share > 0)
    likeness, pull = (x.flatten(1).norm(dim=1) for x in (found[0.0], found[0.25] - found[0.0]))
    assert (pull > 0).all()
    assert (pull <= 0.2501 * likeness).all()
