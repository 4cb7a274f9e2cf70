"""Tune the options of packing by the answers of the model: `vggq tune`."""

from ..importance import FACTORS_NAME
from .goal import TuneGoal, parse_goal
from .records import DEFAULT_TRIALS, Sensitivities, Tuned, TuneSettings
from .result import (
    PACKED_NAME,
    REPORT_NAME,
    TABLE_NAME,
    factors_of,
    option_lines,
    render_table,
    write_result,
)
from .sensitivity import Sensitivity, stored_bytes
from .trial import Trial
from .tuner import measure_sensitivity, tune

__all__ = [
    "DEFAULT_TRIALS",
    "FACTORS_NAME",
    "PACKED_NAME",
    "REPORT_NAME",
    "TABLE_NAME",
    "Sensitivities",
    "Sensitivity",
    "Trial",
    "TuneGoal",
    "TuneSettings",
    "Tuned",
    "factors_of",
    "measure_sensitivity",
    "option_lines",
    "parse_goal",
    "render_table",
    "stored_bytes",
    "tune",
    "write_result",
]
