"""The storing half of the ``grid`` codec."""

from .encoder import Coder
from .step_search import Quantized, at_least, with_step

__all__ = ["Coder", "Quantized", "at_least", "with_step"]
