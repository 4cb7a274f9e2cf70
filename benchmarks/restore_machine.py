"""A description of the machine and of the libraries that `restore.py` measures."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

LIBRARIES: Final = ("numpy", "zstandard", "safetensors", "torch")
_HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def describe_machine() -> dict[str, str]:
    """Return the properties of the machine by name; none of them identifies its owner."""
    described = {
        "processor": find_processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "GPU": find_gpu(),
        "huge pages": find_huge_pages(),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    libraries = {name: find_version(name) for name in LIBRARIES}
    return {name: text for name, text in (described | libraries).items() if text}


def find_processor() -> str:
    """Return the name of the processor."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def find_gpu() -> str:
    """Return the name of the first GPU that torch can use, or an empty text."""
    with suppress(ImportError):
        import torch  # noqa: PLC0415 - not installed everywhere

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(0))
    return ""


def find_huge_pages() -> str:
    """Return the setting of transparent huge pages, or "unknown"."""
    with suppress(OSError):
        match = re.search(r"\[(\w+)\]", _HUGE_PAGES.read_text())
        if match:
            return match[1]
    return "unknown"


def find_version(library: str) -> str:
    """Return the version of an installed library, or an empty text."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
