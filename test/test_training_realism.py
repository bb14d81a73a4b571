"""The critic that tells decoded images from originals."""

import pytest
import torch
from torch.nn import functional

from gsc_ros.training.realism import RealismCritic


def features(images):
    """Differences of neighbours on three grids: what noise has and its mean lacks."""
    maps = []
    for size in (1, 2, 4):
        x = functional.avg_pool2d(images, size)
        maps.append(torch.cat([x.diff(dim=3)[:, :, :-1], x.diff(dim=2)[..., :-1]], 1))
    return maps


def test_the_critic_learns_discriminator_loss_a_repeating_texture_from_noise():
    torch.manual_seed(0)
    critic = RealismCritic([6, 6, 6])
    optimiser = torch.optim.AdamW(critic.parameters(), 3e-3)

    def draw():
        tile = torch.rand(4, 3, 8, 8).repeat(1, 1, 8, 8)
        return features(tile), features(torch.rand(4, 3, 64, 64))

    start = float(critic.discriminator_loss(*draw()).detach())
    for _ in range(60):
        optimiser.zero_grad()
        critic.discriminator_loss(*draw()).backward()
        optimiser.step()
    made, true = draw()
    assert start == pytest.approx(2, abs=0.3)  # it knows nothing: the hinge on both sides
    with torch.no_grad():
        assert float(critic.discriminator_loss(made, true)) < 0.6 * start
        assert float(critic.generator_loss(made)) > float(critic.generator_loss(true))


def test_each_loss_teaches_its_own_side():
    critic = RealismCritic([6, 6, 6])
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    made = features(images)
    critic.discriminator_loss(made, features(torch.rand(2, 3, 32, 32))).backward()
    assert images.grad is None
    assert all(p.grad is not None for p in critic.parameters())
    (pull,) = torch.autograd.grad(critic.generator_loss(made), images)
    assert float(pull.abs().sum()) > 0


@pytest.mark.parametrize(('maps', 'judged'), [(1, [0]), (2, [1]), (3, [1, 2]), (7, [1, 2, 6])])
def test_the_finest_map_is_judged_only_where_it_is_alone(maps, judged):
    assert RealismCritic([4] * maps).judged == judged
