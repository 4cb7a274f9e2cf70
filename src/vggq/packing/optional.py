"""Import a library of an extra, or say how to get it."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MissingDependencyError


def require(module: str, extra: str) -> Any:
    """The module; it is imported only when this is called.

    Raises:
        MissingDependencyError: it is not installed; the message has the command to type.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module} is not installed: pip install 'hatch-vggq[{extra}]'"
        ) from error
