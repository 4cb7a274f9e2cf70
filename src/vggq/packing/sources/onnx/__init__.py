"""ONNX: the initializers of a model."""

from .model import FORMAT

__all__ = ["FORMAT"]
