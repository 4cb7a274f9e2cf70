"""TFLite models."""

from .model import FORMAT

__all__ = ["FORMAT"]
