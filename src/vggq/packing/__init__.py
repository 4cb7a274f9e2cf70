"""Build time: checkpoints to packed files. Needs the `build` extra."""

from .comparison import Comparison, compare
from .encoder import ENCODER_VERSION
from .options import Options
from .packer import Packed, check_target, pack
from .reuse import is_current
from .simulation import simulate
from .summary import describe
from .sweeps import Variant, sweep
from .verification import verify, verify_against

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
