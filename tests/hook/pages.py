"""The code blocks of the pages, and a project in which they run.

A block whose first line is a comment with a path, such as `# pyproject.toml`, is a file of the
project. Other blocks run: `bash` as commands, `python` as a script. A block of `text` is output of
the command before it. A fragment of TOML is validated as the configuration of the hook.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hatch_vggq.config import parse_config
from tests.helpers import untraced
from tests.test_docs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FENCE: Final = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH: Final = re.compile(r"# ((?:[\w-]+/|\.\w+/)*[\w-]*\.\w+)\n")
_SCRIPTS: Final = Path(sys.executable).parent
# Rich breaks lines at 80 columns if the output is no terminal.
_COLUMNS: Final = "200"


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        section: the heading of the section, of the second level; empty before the first one.
        language: the word after the fence.
        code: the text between the fences.

    """

    section: str
    language: str
    code: str

    @property
    def path(self) -> str | None:
        """The file of the project that the block shows."""
        match = _PATH.match(self.code)
        return match[1] if match else None

    @property
    def first_line(self) -> str:
        return self.code.splitlines()[0]


def read_blocks(page: str) -> list[Block]:
    return list(_blocks((ROOT / page).read_text(encoding="utf-8")))


def _blocks(text: str) -> Iterator[Block]:
    section, end = "", 0
    for match in _FENCE.finditer(text):
        headings = re.findall(r"^## (.+)$", text[end : match.start()], re.MULTILINE)
        section, end = (headings or [section])[-1], match.end()
        # Directives, such as {toctree}, are for Sphinx.
        if not match[1].startswith("{"):
            yield Block(section, match[1], match[2])


class PageProject:
    """A project folder with an environment of its own, which has the libraries of the tests."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self._environment = folder / "environment"
        venv.create(self._environment)
        self.extend_path(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})")
        scripts = self._environment / "bin"
        # A shared `pip` would install into the environment of the tests.
        (scripts / "pip").write_text('#!/bin/sh\nexec python -m pip "$@"\n')
        (scripts / "pip").chmod(0o755)
        path = os.pathsep.join([str(scripts), str(_SCRIPTS), os.environ["PATH"]])
        self._variables = {
            **untraced(),
            **variables,
            "PATH": path,
            "COLUMNS": _COLUMNS,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self.output = ""

    def extend_path(self, line: str) -> None:
        """Add a folder, or a statement, to the start of Python in the environment."""
        (site,) = self._environment.glob("lib/python*/site-packages")
        with (site / "project.pth").open("a") as file:
            file.write(f"{line}\n")

    def write(self, path: str, content: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def run(self, command: list[str], script: str = "") -> int:
        """Run a command, keep its output, and return its exit code."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self._variables,
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.output = done.stdout
        return done.returncode

    def bash(self, script: str) -> None:
        code = self.run(["bash", "-euo", "pipefail", "-c", script])
        assert code == 0, f"{script}\n{self.output}"

    def follow(self, block: Block) -> None:
        """Do what a reader of the page does with the block."""
        if block.path is not None:
            self.write(block.path, block.code)
            self._check_file(block)
        elif block.language == "bash":
            self.bash(block.code)
        elif block.language == "python":
            code = self.run(["python", "-"], block.code)
            assert code == 0, self.output
        elif block.language == "toml":
            check_configuration(block.code)
        else:
            assert block.language == "text", f"a block of the unknown language {block.language!r}"
            assert_shown(block.code, self.output)

    def _check_file(self, block: Block) -> None:
        if block.language == "toml":
            check_configuration(block.code)
        elif block.language == "python":
            compile(block.code, str(block.path), "exec")
        elif block.language == "yaml":
            # Only the environment with torch has it, as the tests of the pages need torch.
            import yaml  # noqa: PLC0415

            for job in yaml.safe_load(block.code)["jobs"].values():
                for step in job["steps"]:
                    self.bash(step.get("run", ""))


def check_configuration(text: str) -> None:
    """Validate a TOML file, and the table of the hook if there is one."""
    table: Any = tomllib.loads(text)
    for key in ("tool", "hatch", "build", "hooks", "vggq"):
        table = table.get(key, {})
    if table:
        parse_config({"models": [{"source": "a.npz", "target": "a.vggq"}], **table})


def assert_shown(expected: str, output: str) -> None:
    """Assert that the output has the expected lines, in order; numbers may differ."""
    lines = iter(_comparable(output))
    for line in _comparable(expected.replace("…\n", "")):
        assert line in lines, f"{line!r} is not in the output, or not in this order:\n{output}"


def _comparable(text: str) -> list[str]:
    return [" ".join(re.sub(r"\d[\d.,]*", "0", line).split()) for line in text.splitlines()]
