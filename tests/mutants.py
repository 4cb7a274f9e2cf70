"""Mutation testing with cosmic-ray: change the code in every small way, and expect a test to fail.

::

    python -m tests.mutants [MODULE]...

The mutants are made in a copy of the tree. The script prints every mutant that no test detects. The
exit status is 1 if `EXPLAINED` does not contain one of them.
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
    "src/vggq/_manifest_json.py": "tests/test_manifest_json.py",
    "src/vggq/_manifest_checks.py": "tests/test_manifest_checks.py",
    "src/vggq/_decode.py": "tests/test_decode.py",
    "hatch_vggq/config.py": "tests/hook/test_config.py",
    "hatch_vggq/model_paths.py": "tests/hook/test_config.py",
}
"""The modules to mutate, and the tests of each."""

_ANY_NEGATIVE: Final = "numpy accepts any negative size for the dimension to compute"

EXPLAINED: Final = {
    "if not TYPE_CHECKING:": "the names are needed for types only, but may exist at run time",
    'elif value >= "source" and isinstance(source, str) and is_outside(normalize_path(source)):': (
        "the only other value, 'packed', is less than 'source'"
    ),
    'elif name >= "target":': "the only other name, 'source', is less than 'target'",
    "if other is not key:": "equal keys are the same object, since each key is built once",
    "return Config(models, None if size_limit == False else parse_size(size_limit), sbom)": (
        "0, which equals False, was rejected before"
    ),
    "if len({tensor.name for tensor in tensors}) < len(tensors):": (
        "the set of names is never larger than the list"
    ),
    "if len(metadata) != 1:": "the metadata has at least the manifest's key",
    "if version is not FORMAT_VERSION:": "CPython has one object for each small integer",
    "if other != tensor and _stored_facts(other) != _stored_facts(tensor):": (
        "equal tensors have equal facts"
    ),
    "if type(size) != int or size != tensor.content_size:": "a type equals only itself",
    "codec.decode_into(content, out.reshape(~1))": _ANY_NEGATIVE,
    "codec.decode_into(content, out.reshape(- 2))": _ANY_NEGATIVE,
    "_decode_flat(content, tensor, out.reshape(~1))": _ANY_NEGATIVE,
    "_decode_flat(content, tensor, out.reshape(- 2))": _ANY_NEGATIVE,
    "_decode_flat(content, tensor, flat.reshape(~1))": _ANY_NEGATIVE,
    "_decode_flat(content, tensor, flat.reshape(- 2))": _ANY_NEGATIVE,
}
"""Lines that undetected mutants add, and the reason why no test can detect them."""

ANNOTATION: Final = re.compile(r"def .*: \w+ \S+ None\b")
"""Matches a mutant that changes the operator between two types, which is never evaluated."""

CONFIGURATION: Final = """\
[cosmic-ray]
module-path = "{module}"
timeout = 120.0
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def main() -> int:
    """Mutate the modules on the command line, or all; return 1 if a mutant is not explained."""
    unexplained = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        for part in ("src", "hatch_vggq", "tests", "docs"):
            shutil.copytree(ROOT / part, tree / part)
        shutil.copy(ROOT / "pyproject.toml", tree)
        for module in sys.argv[1:] or TESTS:
            count, undetected = find_undetected(module, tree)
            print(f"{module}: {count} mutants, {len(undetected)} undetected")
            for change in undetected:
                print(f"    {change}: {_explain(change) or 'NOT EXPLAINED'}")
            unexplained += sum(_explain(change) is None for change in undetected)
    return 1 if unexplained else 0


def find_undetected(module: str, tree: Path) -> tuple[int, list[str]]:
    """Return the number of mutants of a module, and the lines that undetected mutants add."""
    configuration, session = tree / "mutants.toml", tree / "mutants.sqlite"
    text = CONFIGURATION.format(module=module, tests=TESTS[module], python=sys.executable)
    configuration.write_text(text, encoding="utf-8")
    session.unlink(missing_ok=True)
    for command in ("init", "exec"):
        _run_cosmic_ray([command, str(configuration), str(session)], tree)
    dump = subprocess.run(
        ["cosmic-ray", "dump", str(session)], check=True, stdout=subprocess.PIPE, text=True
    )
    results = [json.loads(line)[1] for line in dump.stdout.splitlines()]
    return len(results), [_added_lines(result) for result in results if not _is_detected(result)]


def _run_cosmic_ray(arguments: list[str], tree: Path) -> None:
    variables = {
        "PYTHONPATH": os.pathsep.join([str(tree / "src"), str(tree)]),
        # Two mutants with the same time stamp and size would share a bytecode file.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(["cosmic-ray", *arguments], cwd=tree, env=os.environ | variables, check=True)


def _is_detected(result: dict[str, Any] | None) -> bool:
    return result is not None and bool(result["test_outcome"] == "killed")


def _added_lines(result: dict[str, Any] | None) -> str:
    """Return the lines that a mutant adds, without indentation."""
    lines = (result or {}).get("diff", "").splitlines()
    return "\n".join(line[1:].strip() for line in lines if line[:1] == "+" and line[:3] != "+++")


def _explain(change: str) -> str | None:
    return "an annotation" if ANNOTATION.match(change) else EXPLAINED.get(change)


if __name__ == "__main__":
    sys.exit(main())
