"""Pack checkpoints into packed files. Needs the `build` extra."""

from .._manifest_json import FIRST_READER, FORMAT_VERSION
from .atomic_file import atomic_write, remove_leftovers
from .comparison import Comparison, compare
from .encoder import ENCODER_VERSION
from .evaluations import Evaluation, recorded_evaluation
from .file_comparison import FileComparison, compare_files
from .goals import MAX_BITS, Bits, Goal, Override, Size, Sqnr
from .options import (
    GOALS,
    OPTION_NAMES,
    OPTIONALLY_RECORDED,
    OPTIONS,
    RENAMED,
    Option,
    OptionKeywords,
    Options,
    flat_options,
    given_options,
)
from .packer import SUFFIX, Packed, check_target, pack, pack_with
from .reuse import is_current
from .simulation import simulate
from .sizes import megabytes, parse_size
from .summary import advise_on_accuracy, describe, restored_size, stored_rest_size
from .sweeps import Variant, sweep
from .verification import recorded_options, verify, verify_against

__all__ = [
    "ENCODER_VERSION",
    "FIRST_READER",
    "FORMAT_VERSION",
    "GOALS",
    "MAX_BITS",
    "OPTIONALLY_RECORDED",
    "OPTIONS",
    "OPTION_NAMES",
    "RENAMED",
    "SUFFIX",
    "Bits",
    "Comparison",
    "Evaluation",
    "FileComparison",
    "Goal",
    "Option",
    "OptionKeywords",
    "Options",
    "Override",
    "Packed",
    "Size",
    "Sqnr",
    "Variant",
    "advise_on_accuracy",
    "atomic_write",
    "check_target",
    "compare",
    "compare_files",
    "describe",
    "flat_options",
    "given_options",
    "is_current",
    "megabytes",
    "pack",
    "pack_with",
    "parse_size",
    "recorded_evaluation",
    "recorded_options",
    "remove_leftovers",
    "restored_size",
    "simulate",
    "stored_rest_size",
    "sweep",
    "verify",
    "verify_against",
]
