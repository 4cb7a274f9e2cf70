"""Insertions into TOML documents: comments and formatting stay, and nothing else changes."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vggq.errors import TargetError
from vggq.packing.init import _toml_text as toml
from vggq.packing.init._edits import add_build_system, add_requirement, add_table

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

MODELS: Final = ("tool", "hatch", "build", "hooks", "vggq", "models")
MODEL: Final = {"source": "weights/größe.pth", "target": "src/p/größe.vggq"}

ITEMS: Final = ('"hatch-vggq"', '"hatch-vggq>=0.1.0"')

comments = st.sampled_from(["", "  # why", "# [project]", '\t#"""', " # x = [1, 2]"])
gaps = st.lists(st.sampled_from(["", "", "# about", "   # indented [a]", "\t"]), max_size=3)
items = st.sampled_from(['"a"', "'b>=1'", "\"c[x]; python_version < '3.12'\"", '"d#e"'])
other_keys = st.sampled_from(
    [
        "x = nan",
        "x = 1979-05-27T07:32:00Z",
        "x = { a = 1, 'b c' = [ 1,2 , ] }",
        'x = """\n[project]\nname = "no"\nrequires = []\n"""',
        "x = '''\n[[tool.hatch.build.hooks.vggq.models]]\n# no comment '''",
        "x.y.z = 'dotted'",
        'x = [\n  [1, 2],\n  ["# no", "]"],  # yes\n]',
    ]
)
other_tables = st.lists(
    st.sampled_from(
        [
            "[tool.ruff]",
            "[ tool . mypy ]  # spaced",
            "[[tool.mypy.overrides]]",
            "[tool.hatch.envs.default]",
            "[tool.hatch.build.targets.wheel]",
            "[tool.hatch.build.hooks.custom]",
            "[project.urls]",
            "[a.'b.c'.\"d\"]",
        ]
    ),
    unique=True,
)


@st.composite
def arrays(draw: DrawFn) -> str:
    """Return an array of texts, on one line or on several, with and without comments."""
    values = draw(st.lists(items, max_size=3))
    if draw(st.booleans()):
        space = draw(st.sampled_from(["", " "]))
        comma = draw(st.sampled_from(["", ","])) if values else ""
        return f"[{space}{', '.join(values)}{comma}{space}]"
    indentation = draw(st.sampled_from(["  ", "    ", "\t", ""]))
    lines = [f"{indentation}{value},{draw(comments)}" for value in values]
    if draw(st.booleans()) and lines:
        # No comma after the last value.
        lines[-1] = f"{indentation}{values[-1]}{draw(comments)}"
    lines += draw(st.sampled_from([[], [""], [f"{indentation}# more"]]))
    return "\n".join(["[" + draw(comments), *lines, "]"])


@st.composite
def documents(draw: DrawFn) -> str:
    """Return a pyproject.toml of hatchling in any formatting."""
    build = [
        draw(st.sampled_from(["[build-system]", "[ build-system ]", '["build-system"]'])),
        f"requires{draw(st.sampled_from([' = ', '=']))}{draw(arrays())}{draw(comments)}",
        'build-backend = "hatchling.build"',
    ]
    keys = ['name = "p"', "version = '1'  # the [tag]", draw(other_keys)]
    if draw(st.booleans()):
        keys.append(f"dependencies = {draw(arrays())}")
    project = [
        draw(st.sampled_from(["[project]", "[project] # main"])),
        *draw(st.permutations(keys)),
    ]
    sections = [build, project]
    sections += [[header, draw(other_keys)] for header in draw(other_tables)]
    for number in range(draw(st.integers(0, 2))):
        model = [f'source = "{number}"{draw(comments)}', f"target = '{number}'", draw(other_keys)]
        sections.append(["[[tool.hatch.build.hooks.vggq.models]]", *model])
    lines = draw(gaps)
    for section in draw(st.permutations(sections)):
        for line in section:
            lines += [line, *draw(gaps)]
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))


def parse(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=str)


@given(documents())
def test_comments_and_formatting_survive(text: str) -> None:
    changed = add_requirement(text, ("build-system", "requires"), "hatch-vggq")
    changed = add_requirement(changed, ("project", "dependencies"), "hatch-vggq>=0.1.0")
    changed = add_table(changed, MODELS, MODEL, is_item=True)

    table, expected = parse(changed), parse(text)
    assert table["build-system"]["requires"].pop() == "hatch-vggq"
    assert table["project"]["dependencies"].pop() == "hatch-vggq>=0.1.0"
    if "dependencies" not in expected["project"]:
        assert not table["project"].pop("dependencies")
    hooks = table["tool"]["hatch"]["build"]["hooks"]
    assert hooks["vggq"]["models"].pop() == MODEL
    drop_empty(table, MODELS)
    drop_empty(expected, MODELS)
    assert table == expected

    # Each old line is there, in order; those that end an array may have got a comma or an item.
    new_lines = iter(changed.split("\n"))
    for line in text.split("\n"):
        assert any(is_extended(line, new) for new in new_lines), line


def drop_empty(table: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Remove tables on the way to a key that have nothing else."""
    head, *rest = keys
    if rest and isinstance(table.get(head), dict):
        drop_empty(table[head], tuple(rest))
    if head in table and not table[head]:
        del table[head]


def is_extended(old: str, new: str) -> bool:
    """Return whether a line is an old one, with at most a comma, a space and an item more."""
    if old == new:
        return True
    characters = iter(new)
    is_kept = all(character in characters for character in old)
    shorter = [new, *(new.replace(item, "") for item in ITEMS if item in new)]
    return is_kept and any(
        0 <= len(line) - len(old) <= 2 and squeeze(line) == squeeze(old) for line in shorter
    )


def squeeze(line: str) -> str:
    return line.replace(" ", "").replace(",", "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('["a"]', '["a", "b"]'),
        ("[]", '["b"]'),
        ('[ "a" , ]', '[ "a" , "b" ]'),
        ('[\n  "a", # why\n]', '[\n  "a", # why\n  "b",\n]'),
        ('[\n\t"a"\n\t# more\n]', '[\n\t"a",\n\t# more\n\t"b",\n]'),
        ("[\n]", '[\n    "b",\n]'),
    ],
)
def test_items_are_added_in_the_style_of_the_array(old: str, new: str) -> None:
    changed = add_requirement(f"[t]\nk = {old} # end\n", ("t", "k"), "b")
    assert changed == f"[t]\nk = {new} # end\n"


def test_missing_arrays_follow_the_other_keys_of_the_table() -> None:
    text = (
        '[project]\nname = "p"\nrequires-python = ">=3.11"  # why\n\n# Scripts.\n[project.scripts]'
    )
    changed = add_requirement(text, ("project", "dependencies"), "b")
    assert changed == text.replace("# why\n", '# why\ndependencies = ["b"]\n')


def test_key_in_a_multi_line_text_is_not_taken_for_a_key() -> None:
    text = '[project]\ndescription = """\nrequires-python = no\n"""\nname = "p"\n'
    changed = add_requirement(text, ("project", "dependencies"), "b")
    assert changed == f'{text}dependencies = ["b"]\n'


def test_build_system_is_the_first_table_if_nothing_is_above() -> None:
    table = '[build-system]\nrequires = ["a"]\nbuild-backend = "hatchling.build"\n'
    assert add_build_system("[x]\n", ["a"]) == f"{table}\n[x]\n"
    assert add_build_system('name = "top"', ["a"]) == f'name = "top"\n\n{table}'


def test_comments_above_the_next_table_stay_with_it() -> None:
    text = "[tool.hatch.build]\nx = 1\n# own\n\n\n# next\n[tool.y]\n"
    changed = add_table(text, ("tool", "hatch", "build", "z"), {"k": "v"}, is_item=False)
    assert changed == text.replace("# own\n", '# own\n\n[tool.hatch.build.z]\nk = "v"\n')


def test_keys_are_added_to_a_table_that_exists() -> None:
    text = "[build.targets.wheel]  # why\nx = 1"
    changed = add_table(text, ("build", "targets", "wheel"), {"packages": ["p"]}, is_item=False)
    assert changed == '[build.targets.wheel]  # why\npackages = ["p"]\nx = 1'


@pytest.mark.parametrize(
    "text",
    [
        "tool.hatch.build = {}\n",
        "[tool]\nhatch.build.hooks = { vggq = {} }\n",
        '[tool.hatch]\nbuild = { hooks.vggq.models = "none" }\n',
        'tool = "none"\n',
    ],
)
def test_forms_that_cannot_be_extended_give_the_lines_to_write(text: str) -> None:
    with pytest.raises(TargetError, match="write this yourself") as caught:
        add_table(text, MODELS, MODEL, is_item=True)
    assert f'target = "{MODEL["target"]}"' in caught.value.reason


@pytest.mark.parametrize(
    "candidate", ["a = 1", "a = 2\n# c", "# c\na = 1\nb = 1", "a =", "a = 1 # d"]
)
def test_candidates_that_change_more_are_rejected(candidate: str) -> None:
    text = "a = 1 # c"
    expected = {"a": 1, "b": 2}
    assert toml.first_valid(text, [candidate], expected) is None
    assert toml.first_valid(text, [candidate, f"{text}\nb = 2"], expected) == f"{text}\nb = 2"
