"""The command `filekind`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import identify


def main(argv: list[str] | None = None) -> int:
    """Print the kind of each file; return 1 if a file cannot be read."""
    parser = argparse.ArgumentParser(prog="filekind", description="Tell what kind files are.")
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path)
    code = 0
    for path in parser.parse_args(argv).files:
        try:
            guess = identify(path.read_bytes())
        except OSError as error:
            print(f"filekind: {path}: cannot be read: {error.strerror}", file=sys.stderr)
            code = 1
        else:
            print(f"{path}: {guess.kind} ({guess.probability:.0%})")
    return code
