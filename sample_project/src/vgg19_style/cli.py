"""The command ``vgg19-style CONTENT STYLE OUT``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after printing one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        from . import images  # noqa: PLC0415
    except ImportError as error:
        return _fail(f"{error.name} is not installed: pip install 'vgg19-style[style]'")
    try:
        _run(arguments)
    except images.ImageError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vgg19-style", description="Paint one image in the style of another."
    )
    parser.add_argument("content", metavar="CONTENT", help="image to paint")
    parser.add_argument("style", metavar="STYLE", help="image that gives the style")
    parser.add_argument("out", metavar="OUT", help="image file to write")
    parser.add_argument("--size", type=_positive, default=384, help="longer side in pixels (384)")
    parser.add_argument(
        "--steps", type=_positive, default=200, help="evaluations of the loss (200)"
    )
    parser.add_argument(
        "--style-weight", type=float, default=None, help="weight of the style's loss (3)"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {value}")
    return value


def _run(arguments: argparse.Namespace) -> None:
    from . import images  # noqa: PLC0415
    from .model import VGG19  # noqa: PLC0415
    from .transfer import STYLE_WEIGHT, transfer  # noqa: PLC0415

    content = images.load_image(arguments.content, arguments.size)
    style = images.load_image(arguments.style, arguments.size)
    painted = transfer(
        VGG19(pooling="avg"),
        content,
        style,
        steps=arguments.steps,
        style_weight=arguments.style_weight or STYLE_WEIGHT,
        progress=lambda done, loss: _print_progress(done, arguments.steps, loss),
    )
    images.save_image(painted, arguments.out)


def _print_progress(done: int, steps: int, loss: float) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == steps else ""
        print(f"\rstep {done} of {steps}, loss {loss:.4g}   ", end=end, file=sys.stderr, flush=True)


def _fail(message: str) -> int:
    print(f"vgg19-style: {message}", file=sys.stderr)
    return 1
