"""
Pretrained models of other authors: where they are, under which licence, and whether they fit.

Renderers, autoencoders, captioners, perception and codecs all ask here, so that each is found,
told and refused in the same way. Importing this imports no library that loads models.
"""

import gc
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

DTYPES = ('auto', 'float32', 'bfloat16', 'float16')
CARD = 'README.md'
_HEADROOM = 1.2  # memory for activations, over that of the weights
_licences_told: set[str] = set()
Tell = Callable[[str], object]


class PretrainedError(ValueError):
    """A model that cannot be used; the text names the remedy."""


@lru_cache(maxsize=1024)
def _warned(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def report_once(text: str) -> None:
    """Warn of something, once in a process."""
    _warned(text)


@dataclass(frozen=True)
class Options:
    """
    How pretrained models are loaded.

    ``device``: a name of torch; ``dtype``: one of :data:`DTYPES`, ``auto`` for bfloat16 on a GPU
    and float32 on a CPU; ``offline``: take models of the hub from its cache alone; ``report``: is
    told what the user should know and do; ``note``: licences and what is being done, None to
    report the licences alone.
    """

    device: str = 'cpu'
    dtype: str = 'auto'
    offline: bool = False
    report: Tell = report_once
    note: Tell | None = None

    def tell(self, text: str) -> None:
        """Tell what is being done."""
        if self.note is not None:
            self.note(text)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of weights; raises ``ValueError`` for an unknown name."""
        if self.dtype not in DTYPES:
            raise ValueError(f'dtype {self.dtype!r} is not one of {", ".join(DTYPES)}')
        if self.dtype == 'auto':
            on_cpu = torch.device(self.device).type == 'cpu'
            return torch.float32 if on_cpu else torch.bfloat16
        found: torch.dtype = getattr(torch, self.dtype)
        return found


def first_line(error: BaseException) -> str:
    """Return the reason of an error in one line, of at most 200 characters."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 200 else f'{line[:197]}...'


def snapshot(name: str, revision: str, patterns: Iterable[str]) -> Callable[[bool], str]:
    """
    Return what finds files of a model of the hub and its card, for :func:`of_hub`.

    ``patterns``: names of the files, ``*`` stands for any characters. Raises
    :class:`PretrainedError` without the extra.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise PretrainedError(
            f'{name}: models of the hub need pip install "gsc_ros[foundation]". Install it, '
            'or name a folder.'
        ) from error
    wanted = [*patterns, CARD]

    def download(offline: bool) -> str:
        return str(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=wanted,
                local_files_only=offline,
            )
        )

    return download


def of_hub(
    name: str,
    revision: str,
    download: Callable[[bool], str],
    check: Callable[[Path], object],
    models: Options,
) -> Path:
    """
    Return the folder of a model of the hub: what is on this machine, or else fetched.

    ``download``: returns the folder; with True it may not ask the hub. ``check``: raises for a
    folder that is not whole, as an interrupted download leaves it. Raises
    :class:`PretrainedError` with the remedy.
    """
    try:
        folder = Path(download(True))
        check(folder)
        return folder
    except Exception as error:  # the hub's and the file system's errors have no common class
        if models.offline:
            raise _absent(name, revision, 'is not on this machine') from error
    models.tell(f'{name}: fetching it from the hub')
    try:
        folder = Path(download(False))
        check(folder)
    except PretrainedError:
        raise
    except Exception as error:
        raise _absent(name, revision, f'cannot be fetched ({first_line(error)})') from error
    if not revision:
        models.report(
            f'{name}: another machine may load other weights. Pin it with revision {folder.name}'
        )
    return folder


def _absent(name: str, revision: str, what: str) -> PretrainedError:
    at = f' at revision {revision}' if revision else ''
    return PretrainedError(
        f'{name}{at} {what}. On a machine with internet: hf download {name}; then copy the folder '
        'here and give its path.'
    )


def tell_licence(name: str, folder: Path, models: Options) -> None:
    """Tell the licence of a model's weights, by the head of its card, once a process."""
    if name in _licences_told:
        return
    _licences_told.add(name)
    licence, card, tell = '', folder / CARD, models.note or models.report
    if card.is_file():
        for line in card.read_text(errors='replace').splitlines()[:60]:
            key, _, value = line.partition(':')
            if key.strip() in ('license', 'license_name') and value.strip():
                licence = value.strip()
    if licence:
        tell(f'{name}: licence of its weights: {licence}')
    else:
        tell(f'{name}: its folder states no licence. Read the model card before you use it.')


def weights_in(folder: Path) -> list[Path]:
    """
    Return the safetensors files of a model's weights: those of its index, or without variant.

    Raises :class:`PretrainedError` for a damaged index, and where one of its files is missing.
    """
    for index in sorted(folder.glob('*.safetensors.index.json')):
        if index.name.count('.') == 3:
            try:
                names = sorted(set(json.loads(index.read_text())['weight_map'].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise PretrainedError(f'{index} is damaged. Copy the folder again.') from error
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise PretrainedError(f'{folder / missing[0]} is missing. Copy the folder again.')
            return [folder / name for name in names]
    return [path for path in sorted(folder.glob('*.safetensors')) if path.name.count('.') == 1]


def values_in(path: Path) -> int:
    """
    Count the values in a safetensors file, by its header.

    Raises :class:`PretrainedError` for a damaged file.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, 'pt') as file:
            shapes = [file.get_slice(key).get_shape() for key in list(file.keys())]
    except Exception as error:
        raise PretrainedError(f'{path} is damaged ({error}). Copy the folder again.') from error
    return sum(torch.Size(shape).numel() for shape in shapes)


def bytes_of(paths: Iterable[Path], dtype: torch.dtype) -> int:
    """Return the memory of files of weights, in bytes; of other kinds of files, their size."""
    return sum(
        values_in(p) * dtype.itemsize if p.suffix == '.safetensors' else p.stat().st_size
        for p in paths
    )


def free_bytes(target: torch.device) -> int:
    """Return the free memory of a device; of the CPU, what the system says is available."""
    if target.type == 'cuda':
        # Of a model that was given up, cycles and torch's cache still hold memory.
        gc.collect()
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(target)[0])
    system = Path('/proc/meminfo')
    for line in system.read_text().splitlines() if system.is_file() else ():
        if line.startswith('MemAvailable:'):
            return 1024 * int(line.split()[1])
    return 1 << 62


def check_memory(name: str, needed: int, target: torch.device, or_else: str = '') -> None:
    """
    Raise :class:`PretrainedError` where weights of ``needed`` bytes do not fit the free memory.

    ``or_else``: what the user may do beside freeing memory.
    """
    wanted, free = int(_HEADROOM * needed), free_bytes(target)
    if wanted > free:
        raise PretrainedError(
            f'{name} needs {wanted / 1e9:.1f} GB, {target} has {free / 1e9:.1f} GB free. Free '
            f'memory, take a smaller model{or_else or ", or another device"}.'
        )


def admit(
    name: str, folder: Path, files: Iterable[Path], target: torch.device, dtype: torch.dtype,
    models: Options,
) -> None:  # fmt: skip
    """
    Tell the licence of a model, and check that it fits, before it is loaded.

    ``files``: of its weights. Raises :class:`PretrainedError` for one that is damaged, and for
    too little memory.
    """
    needed = bytes_of(files, dtype)
    check_memory(name, needed, target)
    tell_licence(name, folder, models)
    models.tell(f'{name}: loading {needed / 1e9:.2f} GB')
