"""The encoder of the ``grid`` codec."""

from .encoder import GridEncoder
from .scaled import ScaledGridEncoder
from .step_search import QuantizedTensor, quantize_to_sqnr, quantize_with_step

__all__ = [
    "GridEncoder",
    "QuantizedTensor",
    "ScaledGridEncoder",
    "quantize_to_sqnr",
    "quantize_with_step",
]
