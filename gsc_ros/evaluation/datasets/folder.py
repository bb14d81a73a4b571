"""
Images without truth.

* ``folder``: any tree of images; each is a still.
* ``kodak``: ``kodim01.png`` ... ``kodim24.png``, the Kodak lossless true colour image suite
  (https://r0k.us/graphics/kodak/).
* ``div2k``: ``DIV2K_valid_HR/0801.png`` ..., ``DIV2K_train_HR/0001.png`` ... (Agustsson and
  Timofte, CVPR Workshops 2017; https://data.vision.ee.ethz.ch/cvl/DIV2K/). The root is the folder
  that holds those, or one of them.
"""

from pathlib import Path

from gsc_ros.evaluation.datasets.frame import Frame, images, stills

_DIV2K = {'val': 'DIV2K_valid_HR', 'train': 'DIV2K_train_HR'}


def is_folder(root: Path) -> bool:
    """Return whether there is a folder at all."""
    return root.is_dir()


def read_folder(root: Path, split: str) -> list[Frame]:
    """List every image below ``root``; there are no splits."""
    return stills(images(root, '**/*'), root)


def is_kodak(root: Path) -> bool:
    """Return whether the suite's images are here."""
    return bool(images(root, 'kodim[0-9][0-9].*'))


def read_kodak(root: Path, split: str) -> list[Frame]:
    """List the suite's images; there are no splits."""
    return stills(images(root, 'kodim[0-9][0-9].*'), root)


def is_div2k(root: Path) -> bool:
    """Return whether this is a DIV2K folder of high resolution, or holds one."""
    return root.name in _DIV2K.values() or any((root / d).is_dir() for d in _DIV2K.values())


def read_div2k(root: Path, split: str) -> list[Frame]:
    """List the high-resolution images of ``val`` or ``train``."""
    folder = root if root.name in _DIV2K.values() else root / _DIV2K.get(split, split)
    return stills(images(folder), folder)
