"""Winograd's filtering against plain convolution: alike, the same on all threads, never stale."""

import pytest
import torch
from torch import nn

from gsc_ros.models.precision import autocast
from gsc_ros.models.winograd import Conv3x3, transformed

needs_mkl = pytest.mark.skipif(
    not torch.backends.mkl.is_available(), reason='Winograd runs with MKL only'
)


def layer(inputs=96, outputs=128):
    torch.manual_seed(0)
    made = Conv3x3(inputs, outputs)
    return made.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def plain(made, x):
    return nn.Conv2d.forward(made, x)


@needs_mkl
@pytest.mark.parametrize(('count', 'height', 'width'), [(1, 24, 32), (2, 32, 16), (1, 16, 44)])
def test_it_gives_what_a_plain_convolution_gives(count, height, width):
    made, x = layer(), torch.randn(count, 96, height, width)
    with torch.inference_mode():
        got, wanted = made(x), plain(made.double(), x.double())
    assert not torch.equal(got, plain(made.float(), x))  # it is done another way
    assert float((got - wanted).abs().max() / wanted.std()) < 3e-4
    assert got.is_contiguous(memory_format=torch.channels_last)


@needs_mkl
def test_the_result_does_not_depend_on_threads():
    made, x = layer(), torch.randn(1, 96, 48, 64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(made(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@needs_mkl
def test_changed_weights_are_seen():
    made, x = layer(), torch.randn(1, 96, 24, 32)
    first = made(x)
    made.load_state_dict({name: 2 * value for name, value in made.state_dict().items()})
    torch.testing.assert_close(made(x), 2 * first, rtol=0, atol=1e-3)
    assert set(made.state_dict()) == {'weight', 'bias'}


def test_elsewhere_it_is_a_plain_convolution():
    x = torch.randn(1, 96, 24, 32)
    odd, small = torch.randn(1, 96, 27, 32), torch.randn(1, 96, 8, 8)
    made = layer()
    for other in (odd, small):
        assert torch.equal(made(other), plain(made, other))
    thin = layer(48, 48)
    assert torch.equal(thin(x[:, :48]), plain(thin, x[:, :48]))
    assert torch.equal(made.double()(x.double()), plain(made, x.double()))
    made.float()
    with autocast(True):
        assert made(x).dtype == torch.bfloat16
    made.requires_grad_(True)
    made(x).sum().backward()
    assert made.weight.grad is not None


def test_a_gradient_passes_a_layer_that_stays_as_it_is():
    made, x = layer(), torch.randn(1, 96, 24, 32, requires_grad=True)
    with torch.inference_mode():
        made(x)
    made(x).sum().backward()
    got, x.grad = x.grad, None
    plain(made, x).sum().backward()
    assert torch.equal(got, x.grad)


def test_kernels_are_transformed_one_by_one():
    weight = torch.zeros(2, 3, 3, 3)
    weight[1, 2, 0, 0] = 1.0
    kernels = transformed(weight)
    assert kernels.shape == (36, 3, 2)
    assert (kernels[:, 2, 1] != 0).any()
    kernels[:, 2, 1] = 0
    assert not kernels.any()
