"""Simulate a round trip through a packed file, without writing one."""

from __future__ import annotations

import io
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np

from .. import _dtypes, _load, _threads
from ..errors import OptionError, SourceError
from .encoder import Encoder
from .options import OPTIONS, OptionKeywords, Options
from .packer import check_names
from .sources import FORMATS, Source, SourceTensor, natural_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

# As long as a real digest: only the length affects the size of the file.
_PLACEHOLDER_DIGEST: Final = "0" * 64


def simulate(
    state: Mapping[str, ArrayLike],
    *,
    source_format: str = "npz",
    **options: Unpack[OptionKeywords],
) -> dict[str, NDArray[Any]]:
    """Return the arrays that packing and loading a state dict would give, bit for bit.

    Args:
        state: arrays by name, of any shape; a torch tensor must be on the CPU and must not
            require a gradient.
        source_format: the source format that the packed file would record, such as
            "safetensors". It affects the result for a size, and the axis of `scale = "channels"`,
            which is the last one for the formats of Keras.
        **options: the goal and the other options of quantization, as for `pack`. For a size, each
            option that is given to `pack` besides these takes some bytes of the file.

    Returns:
        New arrays by the same names, in the same order. They are float32 for floating-point
        arrays, and have the array's own dtype for integers and booleans.

    Raises:
        OptionError: an option is invalid or does not apply, a pattern matches nothing, or no
            packed file is as small as the size.
        SourceError: an array has a dtype that a packed file cannot hold.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    _reject_inapplicable(options)
    ready = Options(**options).with_importance_read()
    check_names(ready, list(state))
    channels_last = any(f.channels_last for f in FORMATS if f.name == source_format)
    tensors = [
        _source_tensor(name, np.asarray(array), channels_last=channels_last)
        for name, array in state.items()
    ]
    source = Source(source_format, _PLACEHOLDER_DIGEST, sorted(tensors, key=natural_sort_key))
    restored = _load.load(_packed_bytes(source, ready)) if tensors else {}
    return {name: restored[name] for name in state}


def _reject_inapplicable(names: Iterable[str]) -> None:
    inapplicable = {o.name for o in OPTIONS if o.scope in ("reading", "provenance", "evaluation")}
    if problems := [(name, "does not apply to arrays") for name in names if name in inapplicable]:
        raise OptionError(problems)


def _packed_bytes(source: Source, options: Options) -> bytes:
    file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(source, options, Path(folder), _threads.count_processors())
        with encoder.encode() as encoded:
            encoded.write_to(file)
    return file.getvalue()


def _source_tensor(name: str, array: NDArray[Any], *, channels_last: bool) -> SourceTensor:
    dtype = _dtypes.dtype_name(array.dtype)
    if dtype is None:
        raise SourceError(f"{array.dtype} is not supported; convert it to float32", tensor=name)
    read = partial(np.asarray, array, _dtypes.STORAGE[dtype], order="C")
    return SourceTensor(name, dtype, array.shape, read, channels_last=channels_last)
