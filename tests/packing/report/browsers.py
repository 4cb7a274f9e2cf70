"""Find a Chromium for the tests of the HTML pages, or install one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

COMMANDS: Final = ("chromium", "chromium-browser", "google-chrome")
PLAYWRIGHT: Final = (sys.executable, "-m", "playwright", "install", "chromium")
# The package lists of a new system are empty or old.
UPDATE: Final = ("apt-get", "-qq", "update")
INSTALL: Final = ("apt-get", "-qq", "install", "-y")
# The driver is a Node.js, which a minimal Debian lacks a library for.
DRIVER_LIBRARY: Final = "libatomic1"
DRIVER: Final = (sys.executable, "-m", "playwright", "--version")
_TIMEOUT: Final = 600


def find_chromium(downloaded: Path) -> Path | None:
    """Return the Chromium of the system, or the one that Playwright has downloaded, if any.

    Args:
        downloaded: the path where Playwright puts its Chromium.

    """
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is not None:
        return Path(found)
    return downloaded if downloaded.exists() else None


def install_chromium(downloaded: Path) -> Path | str:
    """Install a Chromium by Playwright, or on Debian as root by apt-get.

    Args:
        downloaded: the path where Playwright puts its Chromium.

    Returns:
        The path of the Chromium, or the reason why none can be had.

    """
    reasons = [_run(PLAYWRIGHT)]
    if reasons[-1] is None and downloaded.exists():
        # The libraries that Chromium needs are part of the system.
        reasons.append(_run((str(downloaded), "--version")))
    if reasons[-1] is not None and _can_use_apt():
        reasons.append(_install_debian("chromium"))
    if reasons[-1] is None and (found := find_chromium(downloaded)) is not None:
        return found
    return (
        "; ".join(reason for reason in reasons if reason) or "none was found after installing one"
    )


def prepare_driver() -> str | None:
    """Make the driver of Playwright run; return the reason if it does not."""
    reason = _run(DRIVER)
    if reason is None or not _can_use_apt():
        return reason
    return _install_debian(DRIVER_LIBRARY) or _run(DRIVER)


def _install_debian(package: str) -> str | None:
    return _run(UPDATE) or _run((*INSTALL, package))


def _can_use_apt() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _run(command: tuple[str, ...]) -> str | None:
    """Run a command; return None, or the last line of its error."""
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`{' '.join(command[-3:])}`: {error}"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return f"`{' '.join(command[-3:])}` failed: {lines[-1] if lines else done.returncode}"
