"""HTML pages about a packed file and about a sweep. Needs the `report` extra."""

from .packed_file import report_file
from .page import check_page
from .sweep_page import report_sweep

__all__ = ["check_page", "report_file", "report_sweep"]
