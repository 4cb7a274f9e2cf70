"""The pages that are made from the results of the benchmark of restoring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from restore_results import Results, Table

ROOT: Final = Path(__file__).resolve().parents[1]
BENCHMARKS: Final = ROOT / "benchmarks"
BASE: Final = "safetensors.numpy.load_file"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def make_table(part: str, title: str, rows: dict[str, list[float]]) -> Table:
    from restore_results import Row, Table  # noqa: PLC0415

    return Table(part, title, next(iter(rows)), [Row(name, s) for name, s in rows.items()])


def make_results(processor: str, ratio: float) -> Results:
    from restore_results import Results  # noqa: PLC0415

    tables = [
        make_table("numpy", f"VGG19, {cores}", {BASE: [0.1] * 3, "vggq.load": [0.1 * ratio] * 3})
        for cores in ("1 core", "all cores")
    ]
    return Results({"processor": processor, "cores": "4"}, tables)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    from restore_results import Results, Row, Table  # noqa: PLC0415

    row = Row("vggq.load", [0.1, 0.2], memory=9, result=5, file=3, mapped=False, equal=True)
    results = Results({"processor": "A"}, [Table("numpy", "title", "vggq.load", [row])])
    results.write(tmp_path / "r.json")
    assert Results.read(tmp_path / "r.json") == results
    assert row.overhead == 4


def test_tables_of_the_same_title_are_replaced() -> None:
    results = make_results("A", 2)
    results.replace_tables([make_table("numpy", "VGG19, 1 core", {BASE: [1.0] * 3})])
    assert [table.title for table in results.tables] == ["VGG19, 1 core", "VGG19, all cores"]
    assert results.tables[0].ratio(BASE) == 1
    assert results.tables[0].ratio("vggq.load") is None


def test_a_doubling_is_slower_only_beyond_the_interquartile_range() -> None:
    from restore_ranges import is_default_slower, slower_doublings  # noqa: PLC0415

    def table(**seconds: list[float]) -> Table:
        return make_table("threads", "t", {name.strip("_"): s for name, s in seconds.items()})

    quick, slow = [1.0, 1.0, 1.1, 1.2, 1.2], [1.2, 1.3, 1.4, 1.5, 1.5]
    assert slower_doublings(table(_1=quick, _2=slow)) == [(1, 2)]
    assert slower_doublings(table(_1=slow, _2=quick)) == []
    assert slower_doublings(table(_1=quick, _3=slow)) == []
    wide = [1.0, 1.1, 1.4, 1.6, 1.7]
    assert slower_doublings(table(_1=quick, _2=wide)) == []
    assert is_default_slower(table(_1=quick, default=slow))
    assert not is_default_slower(table(_1=quick, default=quick))


def test_ranges_go_from_the_lowest_to_the_highest_machine() -> None:
    from restore_readme import format_block  # noqa: PLC0415

    block = format_block([make_results("A", 1.5), make_results("B", 0.5), make_results("C", 1)])
    assert "Measured on 3 machines: A (4 cores), B (4 cores), C (4 cores)." in block
    (row,) = [line for line in block.splitlines() if line.startswith("| codebooks")]
    assert row.endswith("| 0.50 to 1.50 | 0.50 to 1.50 |")


def test_table_tells_how_many_machines_it_is_from() -> None:
    from restore_readme import format_block  # noqa: PLC0415

    other = make_results("B", 2)
    other.tables = [make_table("torch", "VGG19 to torch, 1 core", {"torch.load": [1.0] * 3})]
    block = format_block([make_results("A", 1.5), make_results("C", 1), other])
    assert block.startswith(f"| first load / `{BASE}`, 2 of 3 machines | 1 core |")


def test_report_replaces_only_its_part_of_the_readme(tmp_path: Path) -> None:
    from restore_readme import BEGIN, END  # noqa: PLC0415
    from restore_report import write_report  # noqa: PLC0415

    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}old\n{END}after\n", encoding="utf-8")
    write_report([make_results("A", 1.5)], tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}")
    assert text.endswith(f"{END}after\n")
    assert "old" not in text
    assert "1.50" in text
    assert "## A, 4 cores" in (tmp_path / "docs" / "speed.md").read_text(encoding="utf-8")
    assert (tmp_path / "docs" / "restore.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "README.md").write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="expected the lines"):
        write_report([make_results("A", 1.5)], tmp_path)


def test_pages_are_those_of_the_committed_results() -> None:
    from restore_page import format_page  # noqa: PLC0415
    from restore_readme import BEGIN, END, format_block  # noqa: PLC0415
    from restore_report import RESULTS  # noqa: PLC0415
    from restore_results import Results  # noqa: PLC0415

    results = [Results.read(path) for path in sorted(RESULTS.glob("*.json"))]
    assert results
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{BEGIN}{format_block(results)}{END}" in readme
    assert (ROOT / "docs" / "speed.md").read_text(encoding="utf-8") == format_page(results)


def test_committed_results_have_no_paths_or_hosts() -> None:
    from restore_machine import LIBRARIES  # noqa: PLC0415
    from restore_report import RESULTS  # noqa: PLC0415
    from restore_results import Results  # noqa: PLC0415

    known = {"processor", "cores", "memory", "GPU", "huge pages", "kernel", "Python", *LIBRARIES}
    for path in RESULTS.glob("*.json"):
        assert set(Results.read(path).machine) <= known
        assert "/home" not in path.read_text(encoding="utf-8")
