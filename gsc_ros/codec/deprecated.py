"""Names that the classes of ``gsc_ros.codec`` had before; they keep working for a while."""

import warnings

from gsc_ros.codec.sequence import SequenceDecoder, SequenceEncoder


def _warn(old: str, new: str) -> None:
    warnings.warn(f'{old} is now {new}', DeprecationWarning, stacklevel=3)


class FilmEncoder(SequenceEncoder):
    """The old name of :class:`SequenceEncoder`, with its old methods."""

    def restart(self) -> None:
        """Do as :meth:`force_keyframe`."""
        _warn('restart', 'force_keyframe')
        self.force_keyframe()


class FilmDecoder(SequenceDecoder):
    """The old name of :class:`SequenceDecoder`, with its old methods."""

    def learn(self, key: bytes) -> None:
        """Do as :meth:`add_reference`."""
        _warn('learn', 'add_reference')
        self.add_reference(key)
