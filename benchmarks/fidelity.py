"""Compare the fidelity per byte of vggq and of other packers.

    hatch run fidelity:run [--models vgg19,minilm,convnet,transformer] [--budgets 50] [--folder DIR]
        [--packers vggq,others,GGUF,zipnn,NNCodec] [--nncodec PYTHON] [--out DIR]

Every packer packs every model at several rates and stores the same tensors exactly. The size of a
result is its size in a wheel: unchanged or deflated, whichever is smaller. The results are written
to `fidelity.md` and `fidelity.png` in `docs/`; `--out` names another folder.

NNCodec runs in the Hatch environment `nncodec`. A packer that is not installed is listed as
missing. With `--folder`, trained models and measured points are kept in that folder, and the next
run reuses them.
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

from fidelity_budgets import try_random_sizes
from fidelity_models import MODEL_NAMES, BenchmarkModel, load_model
from fidelity_nncodec import measure_nncodec
from fidelity_peers import make_gguf_peers, make_peers, make_zipnn_peers
from fidelity_points import Point, count_weights, measure_peer, measure_vggq
from fidelity_report import ModelResult, write_report
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Measurement = Callable[[], list[Point]]

ROOT: Final = Path(__file__).resolve().parents[1]
PACKERS: Final = ("vggq", "others", "GGUF", "zipnn", "NNCodec")
NNCODEC_PYTHON: Final = [sys.executable, "-m", "hatch", "run", "nncodec:python"]

# Bits per weight, SQNR in dB, and step sizes in standard deviations. VGG19 and MiniLM get fewer of
# each because they are sixteen times as large as the other models.
_SIZE_RATES: Final = (1.8, 2.5, 3, 4, 5, 6, 7, 8.2)
_SIZE_RATES_LARGE: Final = (1.8, 2.5, 3.5, 5, 6.2, 8.2)
_SQNR_GOALS: Final = (9, 12, 18, 24, 30, 36, 42, 47)
_SQNR_GOALS_LARGE: Final = (12, 24, 36, 41.4, 53)
_NNCODEC_STEPS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_NNCODEC_STEPS_LARGE: Final = (0.017, 0.04, 0.1, 0.25, 0.6)
# Of 50 budgets, each large model gets 3 and each small model 22.
_BUDGETS: Final = 50
_BUDGETS_LARGE: Final = 3
_BUDGETS_SMALL: Final = 22


def main() -> int:
    """Measure all packers, and write the table and the chart."""
    arguments = _parser().parse_args()
    python = arguments.nncodec.split() or NNCODEC_PYTHON
    packers = arguments.packers.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        results = [
            measure_model(name, folder / name, python, packers, arguments.budgets)
            for name in arguments.models.split(",")
        ]
    write_report(results, arguments.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", default=",".join(MODEL_NAMES), help="comma-separated list of models"
    )
    parser.add_argument(
        "--packers", default=",".join(PACKERS), help="comma-separated list of packers"
    )
    parser.add_argument("--budgets", type=int, default=_BUDGETS, help="number of random sizes")
    parser.add_argument("--folder", type=Path, help="folder that keeps models and points")
    parser.add_argument("--nncodec", default="", help="command of a Python that has NNCodec")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs", help="folder of the report (docs)"
    )
    return parser


def measure_model(
    name: str, folder: Path, python: list[str], packers: list[str], budgets: int
) -> ModelResult:
    """Measure the chosen packers and the model's share of the random sizes on one model."""
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model(name, folder)
    source = folder / "model.safetensors"
    save_file(model.state, source)
    points, missing = [], {}
    for packer, measure in make_measurements(model, source, python).items():
        if packer not in packers:
            continue
        try:
            points += load_or_measure(folder / f"{packer}.json", measure)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            missing[packer] = summarize_error(error)
        log(f"{model.name}: {packer}: {missing.get(packer, 'done')}")
    share = budgets * (_BUDGETS_SMALL if model.accuracy else _BUDGETS_LARGE) // _BUDGETS
    trials = try_random_sizes(model, source, share, log)
    return ModelResult(model, count_weights(model), points, missing, trials)


def make_measurements(
    model: BenchmarkModel, source: Path, python: list[str]
) -> dict[str, Measurement]:
    """Return for each packer a function that measures all its points."""
    large = model.accuracy is None
    steps = _NNCODEC_STEPS_LARGE if large else _NNCODEC_STEPS
    settings = vggq_settings(count_weights(model), large=large)
    return {
        "vggq": lambda: [measure_vggq(model, source, *setting) for setting in settings],
        "others": lambda: [measure_peer(model, p) for p in make_peers(exact_kmeans=not large)],
        "GGUF": lambda: [measure_peer(model, peer) for peer in make_gguf_peers()],
        "zipnn": lambda: [measure_peer(model, peer) for peer in make_zipnn_peers()],
        "NNCodec": lambda: measure_nncodec(model, source, python, steps),
    }


def vggq_settings(weights: int, *, large: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the settings of vggq: the goal's name, the setting in words, and the options."""
    for bits in range(2, 9):
        yield "vggq bits", f"bits = {bits}", {"bits": bits}
    for sqnr in _SQNR_GOALS_LARGE if large else _SQNR_GOALS:
        yield "vggq sqnr", f"sqnr = {sqnr}", {"sqnr": sqnr}
        independent = {"sqnr": sqnr, "dependent": False}
        yield "vggq sqnr, independent", f"sqnr = {sqnr}", independent
    for rate in _SIZE_RATES_LARGE if large else _SIZE_RATES:
        for objective in ("relative", "overall"):
            size = int(rate * weights / 8)
            goal = {"size": size, "objective": objective}
            yield f"vggq size, {objective}", f"size = {size}", goal


def load_or_measure(path: Path, measure: Measurement) -> list[Point]:
    """Return the points in a JSON file; measure and write them if there is no file."""
    if not path.exists():
        path.write_text(json.dumps([dataclasses.asdict(point) for point in measure()]))
    return [Point(**table) for table in json.loads(path.read_text())]


def summarize_error(error: Exception) -> str:
    """Return the last line of an error, which says why a packer is missing."""
    text = getattr(error, "stderr", None) or str(error)
    return str(text).strip().splitlines()[-1]


def log(line: str) -> None:
    """Print a line of progress on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
