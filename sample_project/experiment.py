"""Compare style transfer with VGG19 at 32 bits per weight and at 8 down to 1.

    python sample_project/experiment.py [OUT] [--grid bits|size] [--size 160] [--steps 40]
        [--controls 4]

The sample's wheel is built with each number of bits. The weights of each wheel paint two pairs of
a content and a style image, from the same start and with the same number of steps. For a second
grid, wheels of the same sizes as those of 8, 6, 4 and 2 bits are packed with `size` in place of
`bits`. The images, a grid of images for each pair, and `figures.json` are written to OUT
(`sample_project/experiment` by default).

Each image is measured in two ways. The distance is its mean colour difference (`colour.delta_e`)
from the image of the float32 weights. The loss is the style transfer's loss of the image, computed
with the float32 network, divided by the loss of the float32 network's own image. The loss shows how
well an image is painted even if its brush strokes differ.

The optimizer amplifies small changes, so there are controls: images of the float32 weights whose
starts differ by less than half a grey level. Quantization has changed an image visibly if both its
distance and its loss are larger than those of all controls. One of them alone is not enough: brush
strokes can differ without being worse.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

SAMPLE = Path(__file__).resolve().parent
sys.path[:0] = [str(SAMPLE), str(SAMPLE / "src")]

from grid import draw_grid  # noqa: E402 - needs the path
from painting import CONTROLS, PAIRS, Painted, Painter  # noqa: E402
from wheels import WEIGHTS, build_wheel  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image
    from wheels import Wheel

GRIDS = ("bits", "size")
ALL_BITS = range(8, 0, -1)
# The wheels of the grid "size" are as large as those of these bits.
SIZES_OF_BITS = (8, 6, 4, 2)


def main(argv: list[str] | None = None) -> int:
    """Paint all images, draw the grids, and print the figures."""
    arguments = _parser().parse_args(argv)
    if not WEIGHTS.exists():
        message = f"{WEIGHTS}: no such file; run `python sample_project/fetch_weights.py`"
        print(message, file=sys.stderr)
        return 1
    begin = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = paint_all(arguments)
    (arguments.out / "figures.json").write_text(
        json.dumps([asdict(painted) for painted in figures], indent=2) + "\n"
    )
    for line in summarize(figures):
        print(line)
    print(f"{arguments.out}: {len(figures)} images in {time.monotonic() - begin:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=SAMPLE / "experiment", metavar="OUT")
    parser.add_argument("--grid", choices=GRIDS, action="append", help="make only this grid")
    parser.add_argument("--size", type=int, default=160, help="longer side in pixels (160)")
    parser.add_argument("--steps", type=int, default=40, help="evaluations of the loss (40)")
    parser.add_argument(
        "--controls", type=int, default=CONTROLS, help=f"controls of each pair ({CONTROLS})"
    )
    return parser


def paint_all(arguments: argparse.Namespace) -> list[Painted]:
    """Paint the images of the float32 weights and of all wheels, and draw the grids."""
    painter = Painter(arguments.size, arguments.steps, arguments.controls)
    exact = [print_image_figures(*item) for item in painter.paint_exact()]
    figures = [painted for painted, _ in exact]
    for grid in arguments.grid or GRIDS:
        packed = [
            print_image_figures(*item)
            for setting, wheel in build_wheels(grid)
            for item in painter.paint(setting, wheel)
        ]
        write_images(grid, exact + packed, arguments.out)
        figures += [painted for painted, _ in packed]
    return figures


def build_wheels(grid: str) -> Iterator[tuple[str, Wheel]]:
    """Yield the settings and the wheels of a grid."""
    if grid == "bits":
        for bits in ALL_BITS:
            yield f"{bits} bit{'s' if bits > 1 else ''}", build_wheel({"bits": bits})
        return
    for bits in SIZES_OF_BITS:
        size = len(build_wheel({"bits": bits}).packed)
        yield f"as {bits} bits", build_wheel({"size": size})


def print_image_figures(painted: Painted, image: Image) -> tuple[Painted, Image]:
    """Print the figures of an image, and return the arguments."""
    print(f"{' in '.join(painted.pair)}: {'; '.join(painted.caption)}", flush=True)
    return painted, image


def write_images(grid: str, items: list[tuple[Painted, Image]], out: Path) -> None:
    """Write the grid of each pair, and its images as separate files."""
    # Ten cells fill two rows of the grid "bits" if one control is shown; "size" shows none.
    max_start = 1 if grid == "bits" else 0
    shown = [(painted, image) for painted, image in items if painted.start <= max_start]
    for pair in PAIRS:
        cells = [(painted.caption, image) for painted, image in shown if painted.pair == pair]
        draw_grid(cells, out / f"{grid}-{pair[0]}.jpg")
        for index, (_, image) in enumerate(cells):
            image.save(out / f"{grid}-{pair[0]}-{index}.png")


def summarize(figures: list[Painted]) -> Iterator[str]:
    """Yield a line for each pair: the range of the controls, and the visibly changed images."""
    for pair in PAIRS:
        images = [painted for painted in figures if painted.pair == pair]
        distances, losses = zip(*((p.distance, p.loss) for p in images if p.start), strict=True)
        max_distance, max_loss = max(distances), max(losses)
        changed = [p.setting for p in images if p.distance > max_distance and p.loss > max_loss]
        yield (
            f"{' in '.join(pair)}: {len(distances)} controls, distances "
            f"{min(distances):.1f} to {max_distance:.1f}, losses up to {max_loss:.2f}; "
            f"visibly changed: {', '.join(changed) or 'none'}"
        )


if __name__ == "__main__":
    sys.exit(main())
