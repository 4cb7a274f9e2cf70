"""torch: what `torch.save` writes, read without torch, and without running any of it."""

from . import archive, legacy

FORMATS = (archive.FORMAT, legacy.FORMAT)
