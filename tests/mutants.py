"""Mutation testing by cosmic-ray: change the rules' code in each small way, and see a test fail.

::

    python -m tests.mutants [MODULE]...

It works on a copy of the tree. Prints every mutant that no test noticed; exit status 1 where there
is one that `EXPLAINED` does not have.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]

TESTS: Final = {
    "src/vggq/_format.py": "tests/test_format.py",
    "src/vggq/_decode.py": "tests/test_decode.py",
    "hatch_vggq/config.py": "tests/hook/test_config.py",
}

EXPLAINED: Final = {
    "if not TYPE_CHECKING:": "names for types alone, which may be there at run time too",
    'elif value >= "source" and isinstance(source, str) and _is_outside(_normal(source)):': (
        "the other value there is, 'packed', comes before"
    ),
    'elif name >= "target":': "the other name there is, 'source', comes before",
    "if other is not key:": "what is equal is the same object: each key is made once",
    "return Config(models, None if size_limit == False else parse_size(size_limit), sbom)": (
        "0, which False equals, was refused before"
    ),
    "if len({tensor.name for tensor in tensors}) < len(tensors):": "a set of them is never longer",
    "if len(metadata) != 1:": "one key is among them",
    "if version is not VERSION:": "CPython has one object for each small integer",
    "if type(size) != int or size != expected_size:": "a type equals itself alone",
    "tensor.codec.write(content, tensor.stored_dtype, plain.reshape(~1))": (
        "numpy takes any negative size for the one that is left"
    ),
    "tensor.codec.write(content, tensor.stored_dtype, plain.reshape(- 2))": "likewise",
}
"""Lines that a surviving mutant adds, and why no test can tell."""

ANNOTATION: Final = re.compile(r"def .*: \w+ \S+ None\b")
"""An operator between two types: no annotation is ever evaluated."""

CONFIGURATION: Final = """\
[cosmic-ray]
module-path = "{module}"
timeout = 120.0
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def survivors(module: str, tree: Path) -> tuple[int, list[str]]:
    """How many mutants there were, and the changes that no test noticed."""
    configuration, session = tree / "mutants.toml", tree / "mutants.sqlite"
    text = CONFIGURATION.format(module=module, tests=TESTS[module], python=sys.executable)
    configuration.write_text(text, encoding="utf-8")
    session.unlink(missing_ok=True)
    paths = os.pathsep.join([str(tree / "src"), str(tree)])
    for command in ("init", "exec"):
        subprocess.run(
            ["cosmic-ray", command, str(configuration), str(session)],
            cwd=tree,
            # Two mutants of one second and one size would have one file of bytecode.
            env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
        )
    dumped = subprocess.run(
        ["cosmic-ray", "dump", str(session)], check=True, stdout=subprocess.PIPE, text=True
    )
    results = [json.loads(line)[1] for line in dumped.stdout.splitlines()]
    return len(results), [_change(result) for result in results if _survived(result)]


def _survived(result: dict[str, Any] | None) -> bool:
    return result is None or result["test_outcome"] != "killed"


def _change(result: dict[str, Any] | None) -> str:
    """The lines that a mutant adds."""
    lines = (result or {}).get("diff", "").splitlines()
    return "\n".join(line[1:].strip() for line in lines if line[:1] == "+" and line[:3] != "+++")


def _explanation(change: str) -> str | None:
    return "an annotation" if ANNOTATION.match(change) else EXPLAINED.get(change)


def main() -> int:
    unexplained = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        for part in ("src", "hatch_vggq", "tests", "docs"):
            shutil.copytree(ROOT / part, tree / part)
        shutil.copy(ROOT / "pyproject.toml", tree)
        for module in sys.argv[1:] or TESTS:
            count, left = survivors(module, tree)
            print(f"{module}: {count} mutants, {len(left)} survive")
            for change in left:
                print(f"    {change}: {_explanation(change) or 'NOT EXPLAINED'}")
            unexplained += sum(_explanation(change) is None for change in left)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
