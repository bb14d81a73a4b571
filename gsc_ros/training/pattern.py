"""
Patterns that repeat with the decoder's own grid: a measure, a loss, and a filter.

A decoder that draws tiles of 4, 8 or 16 pixels tends to repeat itself with these periods, visibly
on roads and in the sky. The energy of such a pattern lies at multiples of 1/16 cycles a pixel, and
not between them; an image of the world has no such preference.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

PERIOD = 16  # pixels; patterns of 8 and of 4 pixels are its harmonics
WINDOW = 64  # pixels; windows find a pattern that changes from place to place
_FAINT = 0.5 / 127.5  # standard deviation of noise, half a grey level, that hides a pattern
_STEP = WINDOW // PERIOD  # bins from one harmonic to the next
_SOFT = 0.1  # added to both ratios, so that their logarithm stays calm where there is no energy


def _surroundings(energy: Tensor) -> Tensor:
    """Mean over the bins two away, down and across, of ``rfft2`` energies (N, h, w/2 + 1)."""
    # Nearer bins hold what the Hann window leaks of the one in the middle.
    wide = functional.pad(energy[:, None], (2, 2, 0, 0), mode='replicate')
    wide = torch.cat([wide[:, :, -2:], wide, wide[:, :, :2]], 2)
    inner = wide[:, :, 1:-1, 1:-1]
    ring = 25 * functional.avg_pool2d(wide, 5, 1) - 9 * functional.avg_pool2d(inner, 3, 1)
    return ring[:, 0] / 16


def _over_surroundings(energy: Tensor, step: tuple[int, int], least: float) -> Tensor:
    """
    Divide the energy at every ``step``-th frequency by that of its surroundings.

    ``energy``: (N, h, w/2 + 1) as from ``rfft2``; ``least`` is added to the surroundings. Returns
    means over N, without frequency zero: (F,).
    """
    down, across = step
    around = _surroundings(energy)[:, ::down, ::across]
    ratio = energy[:, ::down, ::across] / (around + least)
    return ratio.mean(0).flatten()[1:]


def harmonics(images: Tensor) -> tuple[Tensor, Tensor]:
    """
    Measure how far the harmonics of 16 pixels stand out of the spectrum of luma; about 1 if not.

    ``images``: float (N, 3, H, W) in [-1, 1]. Returns means over windows of 64 pixels, which lie
    at random, and over whole images, cut to multiples of 16: float32 (F,) each. Raises
    ``ValueError`` for sides under 64.
    """
    luma = images.float().mean(1)
    height, width = luma.shape[1:]
    if min(height, width) < WINDOW:
        raise ValueError(
            f'a pattern is sought in images of {WINDOW} pixels and more, not {width}x{height}'
        )
    top, left = (int(torch.randint(min(WINDOW // 2, n - WINDOW + 1), ())) for n in (height, width))
    parts = luma[:, top:, left:].unfold(1, WINDOW, WINDOW).unfold(2, WINDOW, WINDOW)
    whole = luma[:, : height // PERIOD * PERIOD, : width // PERIOD * PERIOD]

    def ratios(x: Tensor) -> Tensor:
        h, w = x.shape[1:]
        taper = torch.outer(*(torch.hann_window(n, device=x.device) for n in (h, w)))
        energy = torch.fft.rfft2((x - x.mean((1, 2), keepdim=True)) * taper).abs().square()
        # Over a whole image a pattern adds up, and noise does not.
        faint = _FAINT if h == WINDOW else _FAINT / 10
        least = faint**2 * float(taper.square().sum())
        return _over_surroundings(energy, (h // PERIOD, w // PERIOD), least)

    return ratios(parts.reshape(-1, WINDOW, WINDOW)), ratios(whole)


def pattern_loss(made: Tensor, true: Tensor) -> Tensor:
    """
    Measure how far harmonics of the grid stand out in ``made`` beyond those in ``true``.

    Both: float (N, 3, H, W) in [-1, 1]. Returns the mean excess in nats over frequencies, of
    windows and, at two fifths of the weight, of whole images.
    """
    with torch.no_grad():
        wanted = harmonics(true)
    local, whole = (
        ((a + _SOFT).log() - (b + _SOFT).log()).relu().mean()
        for a, b in zip(harmonics(made), wanted, strict=True)
    )
    return local + 0.4 * whole


def without_harmonics(rgb: NDArray[np.uint8], offset: int = 0) -> NDArray[np.uint8]:
    """
    Bring harmonics of 16 pixels that stand out down to the level of their surroundings.

    It shows what a network sees in an image beside the decoder's pattern. ``rgb``: uint8 (H, W, 3)
    at the decoder's own size, sides in multiples of 32; the spectra are of windows of 64 pixels.
    ``offset``: 2 filters halfway between the harmonics, where no pattern is, as a control.
    """
    half = WINDOW // 2
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    x = functional.pad(x, (half, half, half, half), mode='reflect')
    taper = torch.hann_window(WINDOW).outer(torch.hann_window(WINDOW)).sqrt()
    parts = functional.unfold(x.transpose(0, 1), WINDOW, stride=half)  # (3, 64 * 64, windows)
    windows = parts.transpose(1, 2).reshape(-1, WINDOW, WINDOW) * taper
    spectrum = torch.fft.rfft2(windows)
    energy = spectrum.abs().square()
    wanted = _surroundings(energy)
    # An exponential distribution has a mean of one: what is not far above it may be chance.
    gain = torch.where(energy > 1.5 * wanted, (wanted / energy.clamp(min=1e-9)).sqrt(), 1.0)
    gain[:, 0, 0] = 1
    chosen = torch.ones_like(gain)
    chosen[:, offset::_STEP, offset::_STEP] = gain[:, offset::_STEP, offset::_STEP]
    # The window spreads a harmonic over its neighbours; down, frequencies are in a circle.
    around = torch.cat([chosen[:, -1:], chosen, chosen[:, :1]], 1)[:, None]
    chosen = -functional.max_pool2d(-around, 3, 1, padding=(0, 1))[:, 0]
    windows = torch.fft.irfft2(spectrum * chosen) * taper
    size = (x.shape[2], x.shape[3])
    parts = windows.view(3, -1, WINDOW * WINDOW).transpose(1, 2)
    filtered = functional.fold(parts, size, WINDOW, stride=half)[:, 0, half:-half, half:-half]
    result: NDArray[np.uint8] = filtered.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return result
