"""Build time: checkpoints to packed files. Needs the `build` extra."""

from .compare import Comparison, compare
from .describe import describe
from .entries import ENCODER_VERSION
from .options import Options
from .pack import Packed, check_target, pack
from .reuse import is_current
from .simulate import simulate
from .sweep import Variant, sweep
from .verify import verify, verify_against

__all__ = [
    "ENCODER_VERSION",
    "Comparison",
    "Options",
    "Packed",
    "Variant",
    "check_target",
    "compare",
    "describe",
    "is_current",
    "pack",
    "simulate",
    "sweep",
    "verify",
    "verify_against",
]
