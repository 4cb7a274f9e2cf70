"""The idea's first experiment, whole: style transfer with VGG19 at 32 bits and at 8 down to 1.

    python sample_project/experiment.py [OUT] [--grid bits|size] [--size 160] [--steps 40]

The sample's wheel is built at each width; what its packed file restores paints two pairs of
content and style, with the same start and the same steps. A second grid has wheels of the same
sizes as those of 8, 6, 4 and 2 bits, packed with `size` in place of `bits`. OUT
(`sample_project/experiment` by default) gets the images, a grid of each pair and kind, and the
figures as `figures.json`.

Two measures are taken of each image. The distance is its mean colour difference (`colour.delta_e`)
from the image of the float32 weights. The loss is what the float32 network says of it, against what
it says of its own image: how well it is painted, whichever way the strokes fell.

An optimizer magnifies any change of its start, so there are controls: float32 weights, and starts
that differ by no more than rounding to grey levels would. An image has visibly changed because of
quantization where it is both further off and worse painted than every control. Either alone may be
chance: the strokes fell another way.
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

from grid import draw_grid  # noqa: E402 - the sample is found only now
from painting import PAIRS, Painted, Painter  # noqa: E402
from wheels import WEIGHTS, build_wheel  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image
    from wheels import Wheel

GRIDS = ("bits", "size")
WIDTHS = range(8, 0, -1)
# Of these widths the second grid has the sizes.
SIZES_OF = (8, 6, 4, 2)


def main(argv: list[str] | None = None) -> int:
    """Paint, draw the grids, and print the figures."""
    arguments = _parser().parse_args(argv)
    if not WEIGHTS.exists():
        print(f"{WEIGHTS} is not there: python sample_project/fetch_weights.py", file=sys.stderr)
        return 1
    begin = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    painter = Painter(arguments.size, arguments.steps)
    exact = [show(*found) for found in painter.exact()]
    figures = [painted for painted, _ in exact]
    for name in arguments.grid or GRIDS:
        packed = [show(*found) for wheel in wheels(name) for found in painter.paint(*wheel)]
        draw(name, exact + packed, arguments.out)
        figures += [painted for painted, _ in packed]
    (arguments.out / "figures.json").write_text(
        json.dumps([asdict(painted) for painted in figures], indent=2) + "\n"
    )
    for line in findings(figures):
        print(line)
    print(f"{arguments.out}: {len(figures)} images in {time.monotonic() - begin:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Style transfer at every width, side by side.")
    parser.add_argument("out", nargs="?", type=Path, default=SAMPLE / "experiment", metavar="OUT")
    parser.add_argument("--grid", choices=GRIDS, action="append", help="only that grid")
    parser.add_argument("--size", type=int, default=160, help="longer side in pixels (160)")
    parser.add_argument("--steps", type=int, default=40, help="evaluations of the loss (40)")
    return parser


def wheels(grid: str) -> Iterator[tuple[str, Wheel]]:
    """What a grid's wheels are called, and each of them."""
    if grid == "bits":
        for bits in WIDTHS:
            yield f"{bits} bit{'s' if bits > 1 else ''}", build_wheel({"bits": bits})
        return
    for bits in SIZES_OF:
        size = len(build_wheel({"bits": bits}).packed)
        yield f"as {bits} bits", build_wheel({"size": size})


def show(painted: Painted, image: Image) -> tuple[Painted, Image]:
    print(f"{' in '.join(painted.pair)}: {'; '.join(painted.caption)}", flush=True)
    return painted, image


def draw(name: str, found: list[tuple[Painted, Image]], out: Path) -> None:
    """Write the grid of each pair, and its images."""
    # Of the controls the grid of the widths has room for one, the other for none.
    shown = [one for one in found if one[0].start <= (name == "bits")]
    for pair in PAIRS:
        cells = [(painted.caption, image) for painted, image in shown if painted.pair == pair]
        draw_grid(cells, out / f"{name}-{pair[0]}.jpg")
        for number, (_, image) in enumerate(cells):
            image.save(out / f"{name}-{pair[0]}-{number}.png")


def findings(figures: list[Painted]) -> Iterator[str]:
    """For each pair, which images are further off and worse painted than every control."""
    for pair in PAIRS:
        found = [painted for painted in figures if painted.pair == pair]
        distances, losses = zip(*((p.distance, p.loss) for p in found if p.start), strict=True)
        changed = [p.way for p in found if p.distance > max(distances) and p.loss > max(losses)]
        yield (
            f"{' in '.join(pair)}: {len(distances)} other starts are {min(distances):.1f} to "
            f"{max(distances):.1f} away, their losses up to {max(losses):.2f}; "
            f"visibly changed: {', '.join(changed) or 'none'}"
        )


if __name__ == "__main__":
    sys.exit(main())
