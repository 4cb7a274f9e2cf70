"""What a round trip through a packed file gives, without a file that anyone sees."""

from __future__ import annotations

import io
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes, _load, _threads
from ..errors import SourceError
from .encoder import Encoder
from .goals import AIMS
from .importance import check_weights
from .options import Options, as_patterns
from .sources import Source, SourceTensor, check_patterns, natural_order

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from .goals import Override
    from .importance import Weights

# As long as any other: its length is all that may count.
_NO_DIGEST: Final = "0" * 64


def simulate(
    state: Mapping[str, ArrayLike],
    *,
    bits: int | None = None,
    sqnr: float | None = None,
    size: int | str | None = None,
    aim: str = AIMS[0],
    dependent: bool = True,
    weights: str | os.PathLike[str] | Weights | None = None,
    tensors: Iterable[Override | Mapping[str, Any]] = (),
    keep: Iterable[str] = (),
    source_format: str = "npz",
) -> dict[str, NDArray[Any]]:
    """The arrays that packing a state dict and loading it again would give, bit for bit.

    Args:
        state: arrays by name, of any shape; a torch tensor has to be on the CPU and to need no
            gradient.
        bits: as of `pack`, and so are the next seven.
        sqnr: in dB.
        size: of the packed file, which holds the names of its source's format and of its options
            too: what is given to `pack` beyond the options here takes some bytes of it.
        aim: for a size.
        dependent: for a fidelity or a size.
        weights: for a size.
        tensors: other goals for some tensors.
        keep: patterns of names of tensors to store exactly.
        source_format: what the packed file would name as its source's, such as "safetensors";
            it matters for a size only.

    Returns:
        Fresh arrays by the same names, in the same order: float32 for what was floating point,
        the state's own dtype for integers and booleans.

    Raises:
        OptionError: an option is out of range, a pattern matches nothing, or no packed file is as
            small as that.
        SourceError: an array is of a dtype that no packed file holds.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    options = Options.from_table(
        {
            "bits": bits,
            "sqnr": sqnr,
            "size": size,
            "aim": aim,
            "dependent": dependent,
            "weights": weights,
            "tensors": tuple(tensors),
            "keep": as_patterns(keep),
        }
    ).loaded()
    for option, patterns in options.patterns.items():
        check_patterns(option, patterns, list(state))
    check_weights(options.factors, state)
    found = [_tensor(name, np.asarray(array)) for name, array in state.items()]
    source = Source(source_format, _NO_DIGEST, sorted(found, key=natural_order))
    restored = _load.load(_packed(source, options)) if found else {}
    return {name: restored[name] for name in state}


def _packed(source: Source, options: Options) -> bytes:
    """The packed file."""
    file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        work = Encoder(source, options, Path(folder), _threads.available())
        with work.entries() as entries:
            file.write(entries.header)
            entries.frames.copy_to(file)
    return file.getvalue()


def _tensor(name: str, array: NDArray[Any]) -> SourceTensor:
    dtype = _dtypes.name_of(array.dtype)
    if dtype is None:
        raise SourceError(
            f"tensor {name!r} is of {array.dtype}, which is not supported; float32 would be"
        )
    stored = partial(np.asarray, array, _dtypes.STORAGE[dtype], order="C")
    return SourceTensor(name, dtype, array.shape, stored)
