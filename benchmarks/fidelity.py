"""What a model's weights are worth at a size: this project against whatever else packs them.

    hatch run fidelity:run [--models vgg19,convnet,transformer] [--budgets 50] [--folder DIR]
        [--packers vggq,others,GGUF,zipnn,NNCodec] [--nncodec PYTHON] [--out DIR]

Every packer packs every model at several rates, and keeps the same tensors exactly. The bytes are
those in a wheel: the file as it is or deflated, whichever is less. Writes `fidelity.md` and
`fidelity.png` into `docs/`. NNCodec runs in the Hatch environment `nncodec`; what does not install
is listed as such. With `--folder` points that are there already are not measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fidelity_apart import nncodec
from fidelity_budgets import draw
from fidelity_models import NAMES, Model, find
from fidelity_peers import gguf_peers, peers, zipnn_peers
from fidelity_points import Point, ours, theirs, weights_of
from fidelity_report import Result, write
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).resolve().parents[1]
PACKERS: Final = ("vggq", "others", "GGUF", "zipnn", "NNCodec")
NNCODEC: Final = [sys.executable, "-m", "hatch", "run", "nncodec:python"]

# Bits per weight and decibels; VGG19 takes longest.
_RATES: Final = (1.8, 2.5, 3, 4, 5, 6, 7, 8.2)
_RATES_VGG19: Final = (1.8, 2.5, 3.5, 5, 6.2, 8.2)
_SQNRS: Final = (9, 12, 18, 24, 30, 36, 42, 47)
_SQNRS_VGG19: Final = (12, 24, 36, 41.4, 53)
_STEPS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_STEPS_VGG19: Final = (0.017, 0.04, 0.1, 0.25, 0.6)


def main() -> int:
    """Measure, and write the table and the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(NAMES), help="some of them, with commas")
    parser.add_argument("--packers", default=",".join(PACKERS), help="some of them, with commas")
    parser.add_argument("--budgets", type=int, default=50, help="sizes that are drawn at random")
    parser.add_argument("--folder", type=Path, help="where models and points are kept")
    parser.add_argument("--nncodec", default="", help="the Python that has NNCodec")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    python = arguments.nncodec.split() or NNCODEC
    names = arguments.models.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        wanted = arguments.packers.split(",")
        results = [run(name, folder / name, python, wanted, arguments.budgets) for name in names]
    write(results, arguments.out)
    return 0


def run(name: str, folder: Path, python: list[str], wanted: list[str], budgets: int) -> Result:
    """All packers on one model, and its share of the budgets."""
    folder.mkdir(parents=True, exist_ok=True)
    model = find(name, folder)
    source = folder / "model.safetensors"
    save_file(model.state, source)
    points, absent = [], {}
    for packer, measure in packers(model, source, python).items():
        if packer not in wanted:
            continue
        try:
            points += kept(folder / f"{packer}.json", measure)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            absent[packer] = reason(error)
        say(f"{model.name}: {packer} {absent.get(packer, 'done')}")
    # Each of VGG19's takes as long as five of a small one.
    share = budgets * (6 if name == "vgg19" else 22) // 50
    drawn = draw(model, source, share, say)
    return Result(model, weights_of(model), points, absent, drawn)


def packers(model: Model, source: Path, python: list[str]) -> dict[str, Callable[[], list[Point]]]:
    """What measures the points of each packer, by name."""
    large = model.accuracy is None
    steps = _STEPS_VGG19 if large else _STEPS
    return {
        "vggq": lambda: [ours(model, source, *way) for way in ways(weights_of(model), large=large)],
        "others": lambda: [theirs(model, peer) for peer in peers(exact_kmeans=not large)],
        "GGUF": lambda: [theirs(model, peer) for peer in gguf_peers()],
        "zipnn": lambda: [theirs(model, peer) for peer in zipnn_peers()],
        "NNCodec": lambda: nncodec(model, source, python, steps),
    }


def ways(weights: int, *, large: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Our own three: name, setting and options."""
    for bits in range(2, 9):
        yield "vggq bits", f"bits = {bits}", {"bits": bits}
    for sqnr in _SQNRS_VGG19 if large else _SQNRS:
        yield "vggq sqnr", f"sqnr = {sqnr}", {"sqnr": sqnr}
        options = {"sqnr": sqnr, "dependent": False}
        yield "vggq sqnr, independent", f"sqnr = {sqnr}", options
    for rate in _RATES_VGG19 if large else _RATES:
        for aim in ("relative", "overall"):
            size = int(rate * weights / 8)
            yield f"vggq size, {aim}", f"size = {size}", {"size": size, "aim": aim}


def kept(path: Path, measure: Callable[[], list[Point]]) -> list[Point]:
    """Points that are in a file, or are measured now and put there."""
    if not path.exists():
        path.write_text(json.dumps([dataclasses.asdict(point) for point in measure()]))
    return [Point(**table) for table in json.loads(path.read_text())]


def reason(error: Exception) -> str:
    """Why a packer is not there, in a line."""
    text = getattr(error, "stderr", None) or str(error)
    return str(text).strip().splitlines()[-1]


def say(line: str) -> None:
    """What is done so far."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
