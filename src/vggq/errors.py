"""Every error that vggq raises, one class per kind of defect.

::

    VggqError
    ├── FormatError              the packed file is not what the format allows
    │   ├── HeaderError          its safetensors header
    │   ├── ManifestError        its manifest
    │   ├── UnsupportedError     it is sound, and newer than this reader
    │   └── DataError            the bytes of one tensor
    ├── LimitError               the packed file takes more memory than the caller allows
    ├── PackedFileError          the packed file cannot be opened or read
    ├── UnknownTensorError       no tensor of that name (also a KeyError)
    ├── ClosedError              the weights were closed (also a ValueError)
    ├── OptionError              options that cannot be followed; all of them at once
    ├── SourceError              a source that cannot be read, or not as asked
    ├── TargetError              a target that cannot be written
    ├── VerificationError        a packed file that does not match its source
    └── MissingDependencyError   an optional library that is not installed (also an ImportError)
"""

from __future__ import annotations


class VggqError(Exception):
    """Base of every error that vggq raises on purpose."""


class FormatError(VggqError):
    """The packed file breaks a rule of the format."""


class HeaderError(FormatError):
    """The safetensors header is cut short, malformed or inconsistent."""


class ManifestError(FormatError):
    """The manifest is missing, altered, malformed or inconsistent."""


class UnsupportedError(FormatError):
    """The file is of a later format version, or has a codec this reader does not know."""


class DataError(FormatError):
    """The stored bytes of one tensor are damaged or do not decode to what the manifest says."""


class LimitError(VggqError):
    """The packed file takes more memory, once restored, than the caller allows."""


class PackedFileError(VggqError):
    """The packed file is missing or unreadable."""


class UnknownTensorError(VggqError, KeyError):
    """The packed file has no tensor of that name."""

    # KeyError would show its message's repr, quotes and escapes included.
    __str__ = Exception.__str__


class ClosedError(VggqError, ValueError):
    """A tensor was asked for after its file had been closed."""


class OptionError(VggqError):
    """One or more options are wrong.

    Attributes:
        problems: pairs of an option's name and what is wrong with its value.

    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {problem}" for key, problem in problems))
        self.problems = problems


class SourceError(VggqError):
    """The source cannot be read, or not in the way that was asked for."""


class TargetError(VggqError):
    """The target cannot be written."""


class VerificationError(VggqError):
    """The packed file does not restore what its source holds."""


class MissingDependencyError(VggqError, ImportError):
    """A library is not installed that only building, the command line or an option needs."""
