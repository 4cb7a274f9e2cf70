"""torch checkpoints as `torch.save` writes them, read without torch and without running code."""

from . import archive, legacy

FORMATS = (archive.FORMAT, legacy.FORMAT)
