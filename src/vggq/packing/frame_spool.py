"""The entries of a packed file while it is being made: on disk where they are large."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_IN_MEMORY: Final = 32_000_000


class FrameSpool:
    """FrameSpool in order, those alike kept once.

    Their header comes before them in a packed file, and is known only after the last of them:
    until then they wait in a file without a name, which goes when the process goes.

    Attributes:
        sizes: the bytes of each.

    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))  # noqa: SIM115
        self._numbers: dict[object, int] = {}
        self.sizes: list[int] = []

    def add(self, frame: bytes, kind: object) -> int:
        """The number of a frame of a kind: its own, or that of one that is the same in both."""
        key = (kind, hashlib.sha256(frame).digest())
        if key not in self._numbers:
            self._numbers[key] = len(self.sizes)
            self._file.write(frame)
            self.sizes.append(len(frame))
        return self._numbers[key]

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all of them behind each other."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, 1 << 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
