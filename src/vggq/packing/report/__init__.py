"""Pages that show what packing did: one of a packed file, one of a sweep. The `report` extra."""

from .packed_file import report_file
from .page import check_page
from .sweep_page import report_sweep

__all__ = ["check_page", "report_file", "report_sweep"]
