"""Stage `captions`: the counts of words under which free-text captions are coded."""

from pathlib import Path

from gsc_ros.codec.foundation.caption_model import FILE, CaptionModel


def train(source: Path, output: Path) -> Path:
    """
    Count a text file, UTF-8, with a caption a line; returns the file of the model.

    Raises ``FileNotFoundError`` and ``ValueError`` naming the remedy.
    """
    if not source.is_file():
        raise FileNotFoundError(f'{source}: give a text file with a caption a line')
    lines = source.read_text(encoding='utf-8', errors='replace').splitlines()
    return CaptionModel.count(line for line in lines if line.strip()).save(output / FILE)
