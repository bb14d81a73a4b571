"""
Find, check and load a pipeline: a folder, or an id of the hub that may be on this machine.

What can be known without loading is checked first: that the files are there, that the table has
the family, that it fits memory. Each check fails with one sentence that names the remedy.
"""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gsc_ros.codec import device as devices
from gsc_ros.codec.foundation import families, mtgc
from gsc_ros.codec.foundation.adapter import PipelineRenderer
from gsc_ros.codec.foundation.families import Family
from gsc_ros.codec.renderers import RendererError, RendererOptions
from gsc_ros.models.layers import channels_last
from gsc_ros.models.precision import fast_bfloat16

INDEX = 'model_index.json'
OWN_PIPELINE, OWN_FAMILY = 'GscFlowPipeline', 'gsc flow'
_DTYPE_SINCE = 0, 41  # before, diffusers said torch_dtype
_BYTES = {torch.float32: 4, torch.bfloat16: 2, torch.float16: 2}
_HEADROOM = 1.2  # memory for activations, over that of the weights
_licences_told: set[str] = set()
Note = Callable[[str], None]


def load(
    options: RendererOptions, device: str = 'auto', note: Note | None = None
) -> PipelineRenderer:
    """
    Load a renderer.

    ``note``: is told the licence once a process, and what is being loaded. Raises
    :class:`RendererError` for what cannot be used.
    """
    tell = note or (lambda text: None)
    target = devices.resolve(device)
    folder = find(options, tell)
    family = family_of(folder)
    _check_options(options, family)
    dtype = dtype_of(options, target, family)
    needed = weights_bytes(folder, dtype)
    _check_memory(options, folder, needed, target)
    _tell_licence(folder, options, tell)
    began = time.monotonic()
    tell(f'renderer {options.model}: loading {needed / 1e9:.2f} GB ({family.name}, {dtype})')
    pipe = _pipeline(folder, family, dtype)
    check_factor(pipe.vae, family)
    parts = {
        'vae': _part(options.tiny_vae, 'AutoencoderTiny', options, dtype),
        'controlnet': _part(options.controlnet, family.controlnet, options, dtype),
    }
    if parts['vae'] is not None:
        check_factor(parts['vae'], family)
    if options.mtgc:
        parts['guide'] = _guide(options, pipe, family)
    _place(pipe, parts, options, target)
    tell(f'renderer {options.model}: ready on {target} after {time.monotonic() - began:.0f} s')
    return PipelineRenderer(pipe, family, options, **parts)


def find(options: RendererOptions, tell: Note) -> Path:
    """
    Return the folder of a pipeline; one of the hub is fetched where it is not on this machine.

    Raises :class:`RendererError` for one that is missing.
    """
    model, path = options.model, Path(options.model).expanduser()
    if path.is_dir():
        if not (path / INDEX).is_file():
            raise RendererError(
                f'renderer {model}: the folder has no {INDEX}, so it is no diffusers pipeline. '
                'Give the folder that save_pretrained or a download of the hub wrote.'
            )
        return path
    if model.startswith(('/', '.', '~')) or model.count('/') != 1:
        raise RendererError(
            f'renderer {model}: there is no such folder. Give deterministic, flow, a folder, or '
            'an id of the hub as owner/name.'
        )
    return _from_hub(options, tell)


def _from_hub(options: RendererOptions, tell: Note) -> Path:
    """Return the folder of a model of the hub: what is on this machine, or fetched."""
    from diffusers import DiffusionPipeline

    wanted = {'revision': options.revision or None, 'use_safetensors': True}
    try:
        folder = Path(DiffusionPipeline.download(options.model, local_files_only=True, **wanted))
        weights_bytes(folder, torch.float32)  # a download that was interrupted leaves some parts
        return folder
    except Exception as error:  # the hub's and the file system's errors have no common class
        if options.offline:
            raise RendererError(_absent(options, 'is not on this machine')) from error
    tell(f'renderer {options.model}: fetching it from the hub')
    try:
        folder = Path(DiffusionPipeline.download(options.model, **wanted))
    except Exception as error:
        raise RendererError(_absent(options, f'cannot be fetched ({_reason(error)})')) from error
    if not options.revision:
        tell(f'renderer {options.model}: pin it with revision {folder.name}')
    return folder


def _absent(options: RendererOptions, what: str) -> str:
    revision = f' at revision {options.revision}' if options.revision else ''
    return (
        f'renderer {options.model}{revision} {what}. On a machine with internet: hf download '
        f'{options.model}; then copy the folder here and give its path.'
    )


def class_name(folder: Path) -> str:
    """Return the class of a folder's pipeline; raises :class:`RendererError` for a bad index."""
    try:
        name = json.loads((folder / INDEX).read_text())['_class_name']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RendererError(
            f'{folder / INDEX} is damaged ({error}). Copy the folder again.'
        ) from error
    return str(name[-1] if isinstance(name, list) else name)


def family_of(folder: Path) -> Family:
    """Return the row of a folder's pipeline; raises :class:`RendererError` where there is none."""
    name = class_name(folder)
    if name == OWN_PIPELINE:
        from gsc_ros.codec.foundation.own_pipeline import OWN

        return OWN
    family = families.find(name)
    if family is None:
        known = ', '.join(f.name for f in families.FAMILIES)
        raise RendererError(
            f'{folder}: {name} is no flow-matching model that a renderer knows. Give one of '
            f'{known}, or add its family (docs/foundation.md).'
        )
    return family


def _check_options(options: RendererOptions, family: Family) -> None:
    if options.controlnet and not family.controlnet:
        raise RendererError(f'controlnet: {family.name} has none here. Leave it empty.')
    if family.name == OWN_FAMILY and (options.tiny_vae or options.lora):
        raise RendererError(f'tiny_vae and lora: {family.name} takes none. Leave them empty.')


def dtype_of(options: RendererOptions, target: torch.device, family: Family) -> torch.dtype:
    """Return the numbers to compute in: bfloat16 where the device is fast with them."""
    if options.dtype != 'auto':
        return getattr(torch, options.dtype)  # type: ignore[no-any-return]
    if family.name == OWN_FAMILY:
        return torch.float32  # the codec computes parts of it in bfloat16 by itself
    fast = target.type != 'cpu' or fast_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def weights_bytes(folder: Path, dtype: torch.dtype) -> int:
    """
    Return the memory of a folder's weights in bytes, by the headers of its safetensors files.

    Raises :class:`RendererError` for a file that is damaged or missing, and where there is none.
    """
    from safetensors import safe_open

    parts = json.loads((folder / INDEX).read_text())
    total, found = 0, False
    for name, entry in parts.items():
        # [library, class]; without the class the pipeline does without this part.
        if name.startswith('_') or not isinstance(entry, list) or not entry[0]:
            continue
        if not (folder / name).is_dir():
            raise RendererError(f'{folder}: the part {name} is missing. Copy the folder again.')
        paths = _weights(folder / name)
        if not paths and (folder / name / 'config.json').is_file():
            raise RendererError(
                f'{folder / name} has no weights (*.safetensors). Copy the whole folder again.'
            )
        for path in paths:
            found = True
            try:
                with safe_open(path, 'pt') as file:
                    shapes = [file.get_slice(key).get_shape() for key in list(file.keys())]
            except Exception as error:
                raise RendererError(
                    f'{path} is damaged ({error}). Copy the folder again.'
                ) from error
            total += sum(torch.Size(shape).numel() for shape in shapes) * _BYTES[dtype]
    if not found:
        raise RendererError(
            f'{folder}: no weights (*.safetensors) are here. Copy the folder again, with them.'
        )
    return total


def _weights(folder: Path) -> list[Path]:
    """Return the files of a part's weights: those of its index, or without variant."""
    for index in sorted(folder.glob('*.safetensors.index.json')):
        if index.name.count('.') == 3:
            names = sorted(set(json.loads(index.read_text())['weight_map'].values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise RendererError(f'{folder / missing[0]} is missing. Copy the folder again.')
            return [folder / name for name in names]
    return [path for path in sorted(folder.glob('*.safetensors')) if path.name.count('.') == 1]


def free_bytes(target: torch.device) -> int:
    """Return the free memory of a device; of the CPU, what the system says is available."""
    if target.type == 'cuda':
        # Of a renderer that was given up, cycles and torch's cache still hold memory.
        gc.collect()
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(target)[0])
    for line in Path('/proc/meminfo').read_text().splitlines():
        if line.startswith('MemAvailable:'):
            return 1024 * int(line.split()[1])
    return 1 << 62


def _check_memory(
    options: RendererOptions, folder: Path, needed: int, target: torch.device
) -> None:
    if target.type == 'cuda' and options.offload == 'model':
        parts = [
            sum(p.stat().st_size for p in _weights(f)) for f in folder.iterdir() if f.is_dir()
        ]
        needed = min(needed, max(parts, default=0))
    if target.type == 'cuda' and options.offload == 'sequential':
        return
    wanted, free = int(_HEADROOM * needed), free_bytes(target)
    if wanted > free:
        raise RendererError(
            f'renderer {options.model} needs {wanted / 1e9:.1f} GB, {target} has {free / 1e9:.1f} '
            'GB free. Free memory, take a smaller model, or set offload to model or sequential.'
        )


def _tell_licence(folder: Path, options: RendererOptions, tell: Note) -> None:
    """Tell the licence of the weights, by the model card's head, once a process."""
    if options.model in _licences_told:
        return
    _licences_told.add(options.model)
    licence = ''
    card = folder / 'README.md'
    if card.is_file():
        for line in card.read_text(errors='replace').splitlines()[:60]:
            key, _, value = line.partition(':')
            if key.strip() in ('license', 'license_name') and value.strip():
                licence = value.strip()
    if licence:
        tell(f'renderer {options.model}: licence of its weights: {licence}')
    else:
        tell(
            f'renderer {options.model}: its folder states no licence. Read the model card before '
            'you use it.'
        )


def _pipeline(folder: Path, family: Family, dtype: torch.dtype) -> Any:
    """Load a pipeline from its folder."""
    import diffusers

    kind: Any = getattr(diffusers, class_name(folder), None)
    if family.name != OWN_FAMILY and kind is None:
        raise RendererError(
            f'diffusers {diffusers.__version__} has no {class_name(folder)}. Install a newer one.'
        )
    try:
        if family.name == OWN_FAMILY:
            from gsc_ros.codec.foundation.own_pipeline import GscFlowPipeline

            # Part by part: from_pretrained would run the code that lies in the folder.
            return GscFlowPipeline.from_parts(folder)
        return kind.from_pretrained(folder, local_files_only=True, **{_dtype_key(): dtype})
    except Exception as error:
        raise RendererError(
            f'{folder}: {family.name} cannot be loaded ({_reason(error)}). Copy the folder again.'
        ) from error


def _dtype_key() -> str:
    """Return the name that the installed diffusers gives the type of the weights."""
    import diffusers

    major, minor = (int(n) for n in diffusers.__version__.split('.')[:2])
    return 'dtype' if (major, minor) >= _DTYPE_SINCE else 'torch_dtype'


def _reason(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _part(model: str, kind: str, options: RendererOptions, dtype: torch.dtype) -> Any:
    """Load weights beside the pipeline, None where none are asked for."""
    if not model:
        return None
    import diffusers

    try:
        part = getattr(diffusers, kind).from_pretrained(
            model, local_files_only=options.offline, **{_dtype_key(): dtype}
        )
    except Exception as error:
        raise RendererError(
            f'{model} cannot be loaded as {kind} ({_reason(error)}). Give its folder or hub id.'
        ) from error
    return part.eval().requires_grad_(False)


def _guide(options: RendererOptions, pipe: Any, family: Family) -> mtgc.MtgcGuide:
    try:
        return mtgc.load(Path(options.mtgc).expanduser(), pipe, family)
    except ValueError as error:
        raise RendererError(str(error)) from error


def check_factor(vae: Any, family: Family) -> None:
    """Raise :class:`RendererError` for a VAE of another factor than the family's."""
    config = vae.config
    channels = config.get('encoder_block_out_channels') or config.get('block_out_channels')
    if channels is None:
        return  # ours, of one factor
    factor = 2 ** (len(channels) - 1)
    if factor != family.factor:
        raise RendererError(
            f'{type(vae).__name__} has cells of {factor} pixels, those of {family.name} have '
            f'{family.factor}. Give a VAE of this family.'
        )


def _place(
    pipe: Any, parts: dict[str, Any], options: RendererOptions, target: torch.device
) -> None:
    """Add weights, and put everything where it computes."""
    if options.lora:
        try:
            pipe.load_lora_weights(options.lora, local_files_only=options.offline)
        except Exception as error:
            raise RendererError(
                f'lora {options.lora} does not fit ({_reason(error)}). Give the folder or hub id '
                'of one for this model.'
            ) from error
    pipe.set_progress_bar_config(disable=True)
    for name in ('vae', 'transformer'):
        part = getattr(pipe, name).eval().requires_grad_(False)
        if type(pipe).__name__ == OWN_PIPELINE:
            channels_last(part)
    if options.attention_slicing:
        pipe.enable_attention_slicing()
    if options.offload != 'none' and target.type == 'cpu':
        raise RendererError(f'offload {options.offload} needs a GPU. Set it to none.')
    if options.offload == 'model':
        pipe.enable_model_cpu_offload(device=target)
    elif options.offload == 'sequential':
        pipe.enable_sequential_cpu_offload(device=target)
    else:
        pipe.to(target)
    for part in parts.values():
        if part is not None:
            part.to(target)
    if options.compile:
        pipe.transformer.compile()
