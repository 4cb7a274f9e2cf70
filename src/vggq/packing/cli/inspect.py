"""The command ``vggq inspect FILE``: packed files, wheels that contain them, and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from ... import _weights
from ..._codecs import codec_to_table
from ...errors import OptionError
from .. import SUFFIX, describe
from ..evaluations import recorded_evaluation
from ..metrics import format_sqnr
from ..options import PROVENANCE, given_options
from ..sizes import megabytes
from ..summary import bits_label, codec_label, printable
from .console import (
    add_command_parser,
    add_json_flag,
    escape_cell,
    format_shape,
    make_table,
    print_json,
    print_line,
    print_table,
    sqnr_as_json,
)
from .inspect_checkpoint import show_checkpoint
from .inspect_model import model_as_json, print_model
from .options import add_options, options_of
from .packed_members import is_archive, is_packed, packed_members

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

    from ..._weights import Weights
    from .console import Commands


_APART: Final = (*PROVENANCE, "evaluation")
_CHECKPOINT_OPTIONS: Final = ("layout", "key", "dtypes", "restore", "include", "exclude")


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "inspect",
        "show the tensors of a file",
        "vggq inspect model.vggq",
        "vggq inspect dist/mypackage-1.0-py3-none-any.whl --json",
        "vggq inspect weights/model.pth",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a .vggq file, a wheel or an sdist with such files, or a checkpoint",
    )
    add_options(parser, _CHECKPOINT_OPTIONS)
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    path = Path(arguments.file)
    if path.suffix == SUFFIX or is_packed(path):
        _reject_options(arguments)
        _show_packed(arguments.file, arguments.file, as_json=arguments.json)
    elif is_archive(path):
        _reject_options(arguments)
        _show_archive(path, as_json=arguments.json)
    else:
        show_checkpoint(arguments.file, options_of(arguments).read, as_json=arguments.json)


def _reject_options(arguments: argparse.Namespace) -> None:
    problems = [
        (name, "only valid with a checkpoint")
        for name in _CHECKPOINT_OPTIONS
        if hasattr(arguments, name)
    ]
    if problems:
        raise OptionError(problems)


def _show_archive(path: Path, *, as_json: bool) -> None:
    """Print all packed files in an archive."""
    if as_json:
        tables = []
        for name, file in packed_members(path):
            with _weights.open(file) as weights:
                tables.append({"path": name, **_as_json(weights)})
        print_json({"models": tables})
        return
    for name, file in packed_members(path):
        _show_packed(file, f"{path}: {name}", as_json=False)


def _show_packed(source: str | IO[bytes], title: str, *, as_json: bool) -> None:
    with _weights.open(source) as weights:
        if as_json:
            print_json(_as_json(weights))
            return
        print_line(f"{title}: {describe(weights.manifest, weights.size)}")
        _print_origin(weights)
        print_model(weights)
        print_table(_as_table(weights))


def _print_origin(weights: Weights) -> None:
    """Print the source, the options and the provenance.

    Values are printed with repr, which escapes the control characters of untrusted text.
    """
    manifest = weights.manifest
    given = given_options(manifest.options)
    options = [f"{key} = {value!r}" for key, value in given.items() if key not in _APART]
    source = f"{printable(manifest.source_format)}, sha256 {manifest.source_sha256}"
    print_line(f"from {source}; {', '.join(options)}")
    for key in PROVENANCE:
        if key in given:
            print_line(f"{key} = {given[key]!r}")
    if evaluation := recorded_evaluation(manifest.options, weights):
        print_line(f"evaluation: {printable(evaluation.describe())}")


def _as_table(weights: Weights) -> Table:
    table = make_table(("tensor", "shape", "dtype", "codec"), ("size", "bits", "SQNR dB"))
    for name, tensor in weights.tensors.items():
        size = weights.stored_size(name)
        table.add_row(
            escape_cell(name),
            format_shape(tensor.shape),
            tensor.source_dtype,
            codec_label(tensor.codec),
            megabytes(size),
            bits_label(tensor, size),
            format_sqnr(tensor.sqnr),
        )
    return table


def _as_json(weights: Weights) -> dict[str, Any]:
    manifest = weights.manifest
    evaluation = recorded_evaluation(manifest.options, weights)
    return {
        "bytes": weights.size,
        "float32_bytes": manifest.float32_size,
        "sqnr": sqnr_as_json(manifest.sqnr),
        "encoder": manifest.encoder,
        "zstd": manifest.zstd,
        "source": {"format": manifest.source_format, "sha256": manifest.source_sha256},
        "options": {k: v for k, v in manifest.options.items() if k != "evaluation"},
        "evaluation": evaluation.to_table() if evaluation else None,
        "model": model_as_json(weights),
        "tensors": [
            {
                "name": name,
                "shape": list(tensor.shape),
                "source_dtype": tensor.source_dtype,
                "codec": codec_to_table(tensor.codec),
                "bytes": weights.stored_size(name),
                "sqnr": sqnr_as_json(tensor.sqnr),
            }
            for name, tensor in weights.tensors.items()
        ],
    }
