"""HTML pages about a packed file, a sweep and a run of `vggq tune`. Needs the `report` extra."""

from .packed_file import report_file
from .page import check_page
from .sweep_page import report_sweep
from .tune_page import report_tuning

__all__ = ["check_page", "report_file", "report_sweep", "report_tuning"]
