"""Import libraries of the optional extras."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MissingDependencyError


def require(module: str, extra: str) -> Any:
    """Import and return a module.

    Args:
        module: the module's name.
        extra: the extra of hatch-vggq that installs it.

    Raises:
        MissingDependencyError: the module is not installed; the message has the command to type.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module} is not installed: pip install 'hatch-vggq[{extra}]'"
        ) from error
