"""The errors that vggq raises, one class per kind of defect.

::

    VggqError
    ├── FormatError              the packed file breaks a rule of the format
    │   ├── HeaderError          its safetensors header
    │   ├── ManifestError        its manifest
    │   ├── UnsupportedError     it has a format version that this release does not read
    │   └── DataError            the bytes of one tensor
    ├── LimitError               the packed file needs more memory than the caller allows
    ├── PackedFileError          the packed file cannot be opened or read
    ├── UnknownTensorError       no tensor of that name (also a KeyError)
    ├── ClosedError              the weights are closed (also a ValueError)
    ├── OptionError              invalid options; all of them at once
    ├── SourceError              the source cannot be read, or not as requested
    ├── TargetError              the target cannot be written
    ├── VerificationError        the packed file does not match its source
    └── MissingDependencyError   an optional library is not installed (also an ImportError)
"""

from __future__ import annotations

import os
from reprlib import Repr
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import PurePath


# A name in a hostile file can take megabytes.
_SHORT_REPR: Final = Repr()
_SHORT_REPR.maxstring = 200


class VggqError(Exception):
    """Base class of every error that vggq raises on purpose.

    Args:
        reason: the problem, in words.
        path: the file that has the problem, if it is about one.
        tensor: the name of the tensor that has the problem, if it is about one.

    Attributes:
        reason: the problem, in words.
        path: the file, or None.
        tensor: the tensor's name, or None.

    """

    def __init__(
        self,
        reason: str = "",
        *,
        path: str | os.PathLike[str] | None = None,
        tensor: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.tensor = tensor

    def locate(
        self, *, path: str | os.PathLike[str] | None = None, tensor: str | None = None
    ) -> Self:
        """Add the parts that were not known where the error was raised, and return the error."""
        self.path = path if self.path is None else self.path
        self.tensor = tensor if self.tensor is None else self.tensor
        return self

    def render(self, root: PurePath | None = None) -> str:
        """Return the message; a path below `root` is shown relative to it, with slashes."""
        parts = [
            "" if self.path is None else _shown(self.path, root),
            "" if self.tensor is None else f"tensor {_SHORT_REPR.repr(self.tensor)}",
            self.reason,
        ]
        return ": ".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.render()


def _shown(path: str | os.PathLike[str], root: PurePath | None) -> str:
    text = _escape(os.fspath(path))
    # The name of a package's resource is text, and not a path below any folder.
    if root is None or isinstance(path, str):
        return text
    below = type(root)(path)
    return _escape(below.relative_to(root).as_posix()) if below.is_relative_to(root) else text


def _escape(text: str) -> str:
    """Return a text in one line, which no control character can change."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class FormatError(VggqError):
    """The packed file breaks a rule of the format."""


class HeaderError(FormatError):
    """The safetensors header is truncated, malformed or inconsistent."""


class ManifestError(FormatError):
    """The manifest is missing, modified, malformed or inconsistent."""


class UnsupportedError(FormatError):
    """The file has a format version that this release does not read."""


class DataError(FormatError):
    """The stored bytes of one tensor are damaged or do not match the manifest."""


class LimitError(VggqError):
    """The packed file needs more memory, once restored, than the caller allows."""


class PackedFileError(VggqError):
    """The packed file is missing or unreadable."""


class UnknownTensorError(VggqError, KeyError):
    """The packed file has no tensor of that name."""


class ClosedError(VggqError, ValueError):
    """A tensor was requested after its file had been closed."""


class OptionError(VggqError):
    """Invalid options, all of them in one error.

    Args:
        problems: pairs of an option's name and the problem with its value.

    Attributes:
        problems: the same pairs.

    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{option}: {problem}" for option, problem in problems))
        # Unpickling an exception passes `args` to its class.
        self.args = (problems,)
        self.problems = problems


class SourceError(VggqError):
    """The source cannot be read, or not in the way that was requested."""


class TargetError(VggqError):
    """The target cannot be written."""


class VerificationError(VggqError):
    """The packed file does not restore the tensors of its source."""


# Both bases have an attribute `path`, of different types.
class MissingDependencyError(VggqError, ImportError):  # type: ignore[misc]
    """A library is not installed that only building, the command line or an option needs."""
