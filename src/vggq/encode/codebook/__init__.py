"""The storing half of the ``codebook`` codec."""

from .quantize import encode

__all__ = ["encode"]
