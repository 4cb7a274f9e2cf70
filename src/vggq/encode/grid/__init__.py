"""The storing half of the ``grid`` codec."""

from .coder import Coder
from .steps import Quantized, at_least, with_step

__all__ = ["Coder", "Quantized", "at_least", "with_step"]
