"""ONNX models: the initializers of the main graph."""

from .model import FORMAT

__all__ = ["FORMAT"]
