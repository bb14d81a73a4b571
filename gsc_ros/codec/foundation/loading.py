"""
Find, check and load a pipeline: a folder, or an id of the hub that may be on this machine.

What can be known without loading is checked first: that the files are there, that the table has
the family, that it fits memory. Each check fails with one sentence that names the remedy.
"""

import json
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from gsc_ros.codec import device as devices
from gsc_ros.codec.foundation import families, mtgc
from gsc_ros.codec.foundation.adapter import PipelineRenderer
from gsc_ros.codec.foundation.families import Family
from gsc_ros.codec.renderers import RendererError, RendererOptions
from gsc_ros.models import pretrained
from gsc_ros.models.layers import channels_last
from gsc_ros.models.precision import fast_bfloat16
from gsc_ros.models.pretrained import Options, PretrainedError, Tell, first_line, report_once

INDEX = 'model_index.json'
OWN_PIPELINE, OWN_FAMILY = 'GscFlowPipeline', 'gsc flow'
_DTYPE_SINCE = 0, 41  # before, diffusers said torch_dtype
Note = Callable[[str], None]


def load(
    options: RendererOptions, device: str = 'auto', note: Note | None = None
) -> PipelineRenderer:
    """
    Load a renderer.

    ``note``: is told the licence once a process, and what is being loaded; None: a warning tells
    the licence, and the rest is not told. Raises :class:`RendererError` for what cannot be used.
    """
    try:
        return _load(options, devices.resolve(device), note)
    except PretrainedError as error:
        raise RendererError(str(error)) from error


def _load(options: RendererOptions, target: torch.device, note: Note | None) -> PipelineRenderer:
    models = Options(offline=options.offline, report=note or report_once, note=note)
    folder = find(options, models)
    family = family_of(folder)
    _check_options(options, family, target)
    dtype = dtype_of(options, target, family)
    sizes = {name: pretrained.bytes_of(paths, dtype) for name, paths in parts_of(folder).items()}
    _check_memory(options, sizes, target)
    name = f'renderer {options.model}'
    pretrained.tell_licence(name, folder, models)
    began = time.monotonic()
    models.tell(f'{name}: loading {sum(sizes.values()) / 1e9:.2f} GB ({family.name}, {dtype})')
    pipe = _pipeline(folder, family, dtype, sizes, lambda text: models.tell(f'{name}: {text}'))
    check_factor(pipe.vae, family)
    parts = {
        'vae': _part(options.tiny_vae, 'AutoencoderTiny', options, dtype),
        'controlnet': _part(options.controlnet, family.controlnet, options, dtype),
    }
    if parts['vae'] is not None:
        check_factor(parts['vae'], family)
    if options.mtgc:
        parts['guide'] = mtgc.load(Path(options.mtgc).expanduser(), pipe, family)
    _place(pipe, parts, options, target)
    models.tell(f'{name}: ready on {target} after {time.monotonic() - began:.0f} s')
    return PipelineRenderer(pipe, family, options, **parts)


def find(options: RendererOptions, models: Options) -> Path:
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
    return _from_hub(options, models)


def _from_hub(options: RendererOptions, models: Options) -> Path:
    """Return the folder of a model of the hub: what is on this machine, or fetched."""
    from diffusers import DiffusionPipeline

    def download(offline: bool) -> str:
        return str(
            DiffusionPipeline.download(
                options.model,
                local_files_only=offline,
                revision=options.revision or None,
                use_safetensors=True,
            )
        )

    return pretrained.of_hub(options.model, options.revision, download, parts_of, models)


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


def _check_options(options: RendererOptions, family: Family, target: torch.device) -> None:
    if options.offload != 'none' and target.type == 'cpu':
        raise RendererError(f'offload {options.offload} needs a GPU. Set it to none.')
    if options.controlnet and not family.controlnet:
        raise RendererError(f'controlnet: {family.name} has none here. Leave it empty.')
    if family.name == OWN_FAMILY and (options.tiny_vae or options.lora):
        raise RendererError(f'tiny_vae and lora: {family.name} takes none. Leave them empty.')
    if options.mtgc:
        mtgc.check(Path(options.mtgc).expanduser(), options.lora)


def dtype_of(options: RendererOptions, target: torch.device, family: Family) -> torch.dtype:
    """Return the numbers to compute in: bfloat16 where the device is fast with them."""
    if options.dtype != 'auto':
        return getattr(torch, options.dtype)  # type: ignore[no-any-return]
    if family.name == OWN_FAMILY:
        return torch.float32  # the codec computes parts of it in bfloat16 by itself
    fast = target.type != 'cpu' or fast_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def parts_of(folder: Path) -> dict[str, list[Path]]:
    """
    Return the files of weights of each part of a pipeline that has some.

    Raises :class:`RendererError` for a part without its files, and where there is none.
    """
    found: dict[str, list[Path]] = {}
    for name, entry in json.loads((folder / INDEX).read_text()).items():
        # [library, class]; without the class the pipeline does without this part.
        if name.startswith('_') or not isinstance(entry, list) or not entry[0]:
            continue
        if not (folder / name).is_dir():
            raise RendererError(f'{folder}: the part {name} is missing. Copy the folder again.')
        paths = pretrained.weights_in(folder / name)
        if not paths and (folder / name / 'config.json').is_file():
            raise RendererError(
                f'{folder / name} has no weights (*.safetensors). Copy the whole folder again.'
            )
        if paths:
            found[name] = paths
    if not found:
        raise RendererError(
            f'{folder}: no weights (*.safetensors) are here. Copy the folder again, with them.'
        )
    return found


def _check_memory(options: RendererOptions, sizes: dict[str, int], target: torch.device) -> None:
    """Check what is on the device at a time: with offload, less than all parts."""
    needed = sum(sizes.values())
    if target.type == 'cuda' and options.offload != 'none':
        needed = max(sizes.values()) if options.offload == 'model' else 0
    pretrained.check_memory(
        f'renderer {options.model}', needed, target, ', or set offload to model or sequential'
    )


def _pipeline(
    folder: Path, family: Family, dtype: torch.dtype, sizes: dict[str, int], tell: Tell
) -> Any:
    """Load a pipeline from its folder: the parts with weights one by one, telling of each."""
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
        parts = _loaded_parts(folder, dtype, sizes, tell)
        return kind.from_pretrained(
            folder, local_files_only=True, **{_dtype_key(): dtype}, **parts
        )
    except Exception as error:
        raise RendererError(
            f'{folder}: {family.name} cannot be loaded ({first_line(error)}). Copy the folder '
            'again.'
        ) from error


def _loaded_parts(
    folder: Path, dtype: torch.dtype, sizes: dict[str, int], tell: Tell
) -> dict[str, Any]:
    """Load the parts of a pipeline that have weights, of diffusers' and transformers' classes."""
    index, parts, done = json.loads((folder / INDEX).read_text()), {}, 0
    keys = {'diffusers': _dtype_key(), 'transformers': 'dtype'}
    for number, (name, size) in enumerate(sizes.items(), 1):
        library, kind = index[name]
        if library not in keys:
            continue  # the pipeline's own class: it loads it itself
        done += size
        tell(
            f'loading {name}, {number} of {len(sizes)} parts, {size / 1e9:.2f} GB '
            f'({done / 1e9:.2f} of {sum(sizes.values()) / 1e9:.2f} GB with it)'
        )
        parts[name] = getattr(import_module(library), kind).from_pretrained(
            folder / name, local_files_only=True, **{keys[library]: dtype}
        )
    return parts


def _dtype_key() -> str:
    """Return the name that the installed diffusers gives the type of the weights."""
    import diffusers

    major, minor = (int(n) for n in diffusers.__version__.split('.')[:2])
    return 'dtype' if (major, minor) >= _DTYPE_SINCE else 'torch_dtype'


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
            f'{model} cannot be loaded as {kind} ({first_line(error)}). Give its folder or hub id.'
        ) from error
    return part.eval().requires_grad_(False)


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
                f'lora {options.lora} does not fit ({first_line(error)}). Give the folder or hub '
                'id of one for this model.'
            ) from error
    pipe.set_progress_bar_config(disable=True)
    for name in ('vae', 'transformer'):
        part = getattr(pipe, name).eval().requires_grad_(False)
        if type(pipe).__name__ == OWN_PIPELINE:
            channels_last(part)
    if options.attention_slicing:
        pipe.enable_attention_slicing()
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
