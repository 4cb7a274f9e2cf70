"""The same source packed in several ways: what each costs in bytes, and in fidelity."""

from __future__ import annotations

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import _load
from ..errors import OptionError
from .comparison import restored
from .packer import pack
from .sources import open_source

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .._manifest import Manifest
    from .encoder import Progress
    from .options import Options

_RESTORES: Final = 3

Scores = Mapping[str, float]
Evaluate = Callable[[dict[str, Any]], Scores]
"""A task's own judgement of a state dict."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What packing with some options came to.

    Attributes:
        options: those options.
        manifest: of the packed file.
        size: its bytes.
        pack_seconds: wall-clock time that packing took.
        restore_seconds: that of `vggq.load`, the median of three.
        scores: what the task's own judgement gave, by name.

    """

    options: Options
    manifest: Manifest
    size: int
    pack_seconds: float
    restore_seconds: float
    scores: Scores = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Bytes of the restored tensors to bytes of the packed file."""
        return self.manifest.float32_size / self.size

    @property
    def bits_per_weight(self) -> float:
        """Bits of the packed file for each float32 of the restored tensors."""
        return 32 / self.ratio


def sweep(
    source: str | os.PathLike[str],
    ways: Sequence[Options],
    *,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
) -> Iterator[Variant]:
    """Pack a source in each of some ways, one after the other, and keep none of the files.

    Args:
        source: as of `pack`.
        ways: the options of each.
        evaluate: called with the state dict that each restores.
        progress: called from time to time with the number of weights done, and of all.

    Raises:
        OptionError, SourceError, MissingDependencyError: as of `pack`.

    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "sweep.vggq")
        for number, options in enumerate(ways):
            part = _part(progress, number, len(ways)) if progress else None
            packed = pack(source, target, **options.to_table(), progress=part)
            state, seconds = _restore(target)
            scores = evaluate(state) if evaluate else {}
            yield Variant(options, packed.manifest, packed.size, packed.seconds, seconds, scores)


def _part(progress: Progress, number: int, count: int) -> Progress:
    return lambda done, total: progress(number * total + done, count * total)


def _restore(target: Path) -> tuple[dict[str, NDArray[Any]], float]:
    """What a packed file restores, and the seconds that takes."""
    times = []
    for _ in range(_RESTORES):
        begin = time.perf_counter()
        state = _load.load(target)
        times.append(time.perf_counter() - begin)
    return state, statistics.median(times)


def original(source: str | os.PathLike[str], options: Options) -> dict[str, NDArray[Any]]:
    """What a source would restore if nothing were lost: its tensors by name.

    Raises:
        OptionError: a pattern matches no tensor.
        SourceError: the source cannot be read.

    """
    with open_source(source, options.reading) as opened:
        return {tensor.name: restored(tensor) for tensor in opened.tensors}


def find_evaluation(place: str) -> Evaluate:
    """The callable at ``module:function``, as one that gives a dict of numbers.

    It may give a lone number, which gets the function's name.

    Raises:
        OptionError: there is none.

    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise OptionError([("eval", f"expected module:function, found {place!r}")])
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionError([("eval", f"{place!r} cannot be imported: {error}")]) from error
    if not callable(function):
        raise OptionError([("eval", f"{place!r} is not callable")])
    return lambda state: _scores(name, function(state))


def _scores(name: str, found: Any) -> dict[str, float]:
    table = found if isinstance(found, Mapping) else {name: found}
    try:
        return {str(key): float(value) for key, value in table.items()}
    except (TypeError, ValueError) as error:
        problem = f"{name} gave {found!r}, expected a number or a dict of numbers"
        raise OptionError([("eval", problem)]) from error
