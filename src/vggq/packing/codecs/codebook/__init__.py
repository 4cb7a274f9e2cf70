"""The encoder of the ``codebook`` codec."""

from .encoder import encode

__all__ = ["encode"]
