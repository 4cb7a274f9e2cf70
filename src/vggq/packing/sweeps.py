"""Pack the same source with several options, and compare their sizes and their SQNR."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import _load, _model
from .comparison import restored_array
from .packer import pack_with
from .scorer import Scorer
from .sources import open_source
from .summary import restored_size
from .user_function import import_function

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .._manifest import Manifest
    from .encoder import Progress
    from .options import Options
    from .sources import Source

_LOADS: Final = 3

Scores = Mapping[str, float]
Evaluate = Callable[[Any], Scores]
"""Evaluates a state dict, or a model by the path of its main file; returns scores by name."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The result of packing a source with some options.

    Attributes:
        options: the options.
        manifest: the manifest of the packed file.
        size: bytes of the packed file.
        pack_seconds: wall-clock time that packing took.
        restore_seconds: wall-clock time of `vggq.load`, the median of three.
        scores: the scores of the restored state dict or model, by name.

    """

    options: Options
    manifest: Manifest
    size: int
    pack_seconds: float
    restore_seconds: float
    scores: Scores = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Bytes of what the packed file restores to, divided by its own bytes."""
        return restored_size(self.manifest) / self.size

    @property
    def bits_per_weight(self) -> float:
        """Bits of the packed file for each float32 of the restored tensors."""
        return 32 * self.size / self.manifest.float32_size


def sweep(
    source: str | os.PathLike[str],
    variants: Sequence[Options],
    *,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
) -> Iterator[Variant]:
    """Pack a source with each of several options, one after the other, and delete the files.

    Args:
        source: as for `pack`.
        variants: the options of each.
        evaluate: called with each restored state dict; if the source is packed as a model, with
            the path of the restored main file, which is removed afterwards.
        progress: called from time to time with the number of weights done, and the total.

    Raises:
        OptionError, SourceError, MissingDependencyError: as for `pack`.

    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "sweep.vggq")
        for number, options in enumerate(variants):
            ready = options.with_importance_read()
            part = _progress_of_variant(progress, number, len(variants)) if progress else None
            packed = pack_with(source, target, ready, progress=part)
            state, seconds = _timed_load(target)
            scores = _evaluate(evaluate, target, state, packed.manifest) if evaluate else {}
            yield Variant(options, packed.manifest, packed.size, packed.seconds, seconds, scores)


def _evaluate(
    evaluate: Evaluate, target: Path, state: dict[str, Any], manifest: Manifest
) -> Scores:
    if manifest.model is None:
        return evaluate(state)
    with _model.as_file(target) as path:
        return evaluate(path)


def _progress_of_variant(progress: Progress, number: int, count: int) -> Progress:
    return lambda done, total: progress(number * total + done, count * total)


def _timed_load(target: Path) -> tuple[dict[str, NDArray[Any]], float]:
    """Return the restored state dict and the median seconds that loading takes."""
    times = []
    for _ in range(_LOADS):
        begin = time.perf_counter()
        state = _load.load(target)
        times.append(time.perf_counter() - begin)
    return state, statistics.median(times)


def original_state(source: str | os.PathLike[str], options: Options) -> dict[str, NDArray[Any]]:
    """Return the state dict that a source would restore without any loss.

    Raises:
        OptionError: a pattern matches no tensor.
        SourceError: the source cannot be read.

    """
    with open_source(source, options.read) as opened:
        return _original_tensors(opened)


def original_argument(opened: Source, source: str | os.PathLike[str]) -> Any:
    """Return the argument of an evaluation for an open source without any loss.

    Returns:
        The path of the source if it is packed as a model, else its state dict.

    """
    return Path(source) if opened.restores_model else _original_tensors(opened)


def _original_tensors(opened: Source) -> dict[str, NDArray[Any]]:
    return {tensor.name: restored_array(tensor) for tensor in opened.tensors}


def evaluate_original(
    evaluate: Evaluate, source: str | os.PathLike[str], options: Options
) -> Scores:
    """Return the scores of a source without any loss.

    Raises:
        OptionError: a pattern matches no tensor.
        SourceError: the source cannot be read.

    """
    with open_source(source, options.read) as opened:
        argument = original_argument(opened, source)
    return evaluate(argument)


def import_evaluation(place: str) -> Evaluate:
    """Import the callable at ``module:function`` and return it as one that returns scores.

    A callable that returns a single number gives one score with the function's name. The first
    call is with the original weights, and decides the names of the scores.

    Raises:
        OptionError: there is no such callable.

    """
    return Scorer(import_function(place))
