"""
Peak memory of a codec: a process of its own codes one image and prints it.

``python -m gsc_ros.evaluation.memory CODEC IMAGE BUDGET [WEIGHTS [RENDERER]]`` prints MiB;
``RENDERER``: the fields of :class:`RendererOptions`, as JSON.
"""

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from gsc_ros.codec.renderers import RendererOptions


def peak_mib(
    codec: str,
    image: Path,
    budget: int,
    weights: str | None = None,
    renderer: RendererOptions | None = None,
) -> float:
    """
    Measure the peak resident memory of loading a codec and coding one image, in MiB.

    The interpreter and its libraries count. Raises ``RuntimeError`` with the process's error.
    """
    command = [sys.executable, '-m', 'gsc_ros.evaluation.memory', codec, str(image), str(budget)]
    command += [weights or '', json.dumps(asdict(renderer or RendererOptions()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'measuring the memory of {codec}: {done.stderr.strip()[-400:]}')
    return float(done.stdout.split()[-1])


def _peak() -> float:
    """Peak resident memory of this process in MiB."""
    try:
        status = Path('/proc/self/status').read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # Not ru_maxrss: on Linux it remembers the parent that was forked before the exec.
    return int(status.split('VmHWM:')[1].split()[0]) / 1024


def main(args: list[str]) -> int:
    """Code one image there and back."""
    from gsc_ros.evaluation.codecs import make_codec
    from gsc_ros.evaluation.datasets import Frame

    name, image, budget = args[:3]
    rgb = Frame(Path(image).stem, Path(image)).rgb()
    weights = args[3] if len(args) > 3 and args[3] else None
    renderer = RendererOptions(**json.loads(args[4])) if len(args) > 4 else None
    codec = make_codec(name, weights, renderer=renderer)
    data = codec.encode([rgb], float(budget), 1.0)
    if data is not None:
        codec.decode(data, (rgb.shape[1], rgb.shape[0]))
    sys.stdout.write(f'{_peak():.1f}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
