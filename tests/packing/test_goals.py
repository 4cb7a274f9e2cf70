"""The three goals of packing, compared with what the packed file achieves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from vggq._codecs import Grid
from vggq._weights import underlying_file
from vggq.errors import DataError, OptionError
from vggq.packing import pack
from vggq.packing.codecs.grid.transform import BASIS_SCALE

if TYPE_CHECKING:
    from pathlib import Path

    from vggq.packing import Packed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of correlated kernels, a heavy-tailed matrix, small weights, and a bias."""
    rng = np.random.default_rng(0)
    kernels = rng.standard_normal((40, 50, 3, 3)).cumsum(axis=2).cumsum(axis=3)
    state = {
        "conv.weight": kernels.astype(np.float32),
        "dense.weight": rng.standard_t(3, (200, 150)).astype(np.float32),
        "small.weight": (rng.standard_normal((128, 128)) * 1e-3).astype(np.float32),
        "dense.bias": rng.standard_normal(200).astype(np.float32),
    }
    return save_npz(tmp_path_factory.mktemp("goals") / "model.npz", state)


def packed(source: Path, tmp_path: Path, **options: Any) -> Packed:
    made = pack(source, tmp_path / "model.vggq", **options)
    assert made.size == made.target.stat().st_size
    return made


def sqnr_of(made: Packed) -> dict[str, float]:
    return {tensor.name: tensor.sqnr for tensor in made.manifest.tensors if tensor.quantized}


@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("sqnr", [3.0, 12.0, 30.0, 41.36, 80.0])
def test_sqnr_goal_is_met_closely_by_every_tensor(
    source: Path, tmp_path: Path, sqnr: float, *, dependent: bool
) -> None:
    found = sqnr_of(packed(source, tmp_path, sqnr=sqnr, dependent=dependent))
    assert set(found) == {"conv.weight", "dense.weight", "small.weight"}
    # Where nearly all levels are zero, a small change of the step size changes many of them.
    assert all(sqnr <= value < sqnr + (0.05 if sqnr > 10 else 0.1) for value in found.values())


# From sizes where almost nothing is left to sizes where almost nothing is lost.
@pytest.mark.parametrize("size", np.random.default_rng(6).integers(12_000, 120_000, 6).tolist())
@pytest.mark.parametrize("objective", ["relative", "overall"])
def test_size_goal_is_filled_and_never_exceeded(
    source: Path, tmp_path: Path, size: int, objective: str
) -> None:
    made = packed(source, tmp_path, size=size, objective=objective)
    assert 0.98 * size <= made.size <= size


def test_size_that_is_too_small_names_the_minimum(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        packed(source, tmp_path, size=500)
    assert not (tmp_path / "model.vggq").exists()
    expected = r"size: 500 B is too small: the minimum is size = (\d+), with an SQNR of 0\.00 dB"
    found = re.fullmatch(expected, str(caught.value))
    assert found
    smallest = int(found[1])
    assert smallest - 16 <= packed(source, tmp_path, size=smallest).size <= smallest


def test_remark_on_tensors_with_a_very_low_sqnr(source: Path, tmp_path: Path) -> None:
    found = packed(source, tmp_path, size="20 kB", objective="overall")
    lost = {name: sqnr for name, sqnr in sqnr_of(found).items() if sqnr < 3}
    worst = min(lost, key=lost.__getitem__)
    (remark,) = found.remarks
    assert remark.startswith(
        f"{len(lost)} of {len(sqnr_of(found))} quantized tensors have an SQNR below 3 dB"
    )
    assert f"the worst is {worst!r} with {lost[worst]:.2f} dB" in remark
    assert packed(source, tmp_path, sqnr=3.5).remarks == ()


def test_each_objective_minimizes_its_own_error(source: Path, tmp_path: Path) -> None:
    relative = packed(source, tmp_path, size="40 kB")
    share = [t.noise / t.energy for t in relative.manifest.tensors if t.quantized]
    overall = packed(source, tmp_path, size="40 kB", objective="overall")
    other = [t.noise / t.energy for t in overall.manifest.tensors if t.quantized]
    assert sum(share) < sum(other)
    assert overall.manifest.sqnr > relative.manifest.sqnr


def test_overall_objective_has_one_step_for_the_whole_model(source: Path, tmp_path: Path) -> None:
    """With the same cost of a bit, one step for all weights gives the least sum of the errors."""

    def steps(objective: str) -> set[float]:
        found = set()
        with vggq.open(packed(source, tmp_path, size="40 kB", objective=objective).target) as file:
            for tensor in file.tensors.values():
                if isinstance(codec := tensor.codec, Grid):
                    content = underlying_file(file).content(tensor.name)
                    # The basis has vectors of this length.
                    unit = BASIS_SCALE if codec.taps > 1 else 1
                    found.add(float(codec.split(content)[0]) * unit)
        return found

    assert len(steps("overall")) == 1
    assert len(steps("relative")) > 1


def test_importance_raises_the_sqnr_of_a_tensor_by_its_factor(source: Path, tmp_path: Path) -> None:
    plain = sqnr_of(packed(source, tmp_path, size="80 kB"))
    made = packed(source, tmp_path, size="80 kB", importance={"dense.weight": 10})
    found = sqnr_of(made)
    assert made.manifest.options["quantization"]["importance"] == {"dense.weight": 10}
    gained = {name: found[name] - plain[name] for name in plain}
    assert gained["dense.weight"] - gained["small.weight"] == pytest.approx(10, abs=0.7)


def test_importance_from_a_file(source: Path, tmp_path: Path) -> None:
    factors = {"conv.weight": 0.5, "dense.bias": 3}
    (tmp_path / "w.json").write_text(json.dumps(factors))
    made = packed(source, tmp_path, size="40 kB", importance=str(tmp_path / "w.json"))
    again = pack(source, tmp_path / "b.vggq", size="40 kB", importance=factors)
    assert made.target.read_bytes() == again.target.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"conv.weigth": 2}', "importance: no tensor is named 'conv.weigth'"),
        ('{"conv.weight": 0}', "factor 0 of 'conv.weight' would ruin it without a word"),
        ('{"conv.weight": NaN}', "found 'conv.weight': nan"),
        ('{"conv.weight": true}', "found 'conv.weight': True"),
        ("[1]", "found [1]"),
        ('"x"', "found 'x'"),
        ("null", "found None"),
        ("{", "is not valid JSON"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_importance_rejects_invalid_files(
    source: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "w.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OptionError) as caught:
        packed(source, tmp_path, size="40 kB", importance=path)
    assert message in str(caught.value)
    assert not (tmp_path / "model.vggq").exists()


def test_overrides_apply_and_must_match_a_tensor(source: Path, tmp_path: Path) -> None:
    tensors = [{"match": "conv.*", "sqnr": 50.0}, {"match": "*", "bits": 3}]
    made = packed(source, tmp_path, sqnr=20.0, tensors=tensors)
    codecs = {tensor.name: tensor.codec.NAME for tensor in made.manifest.tensors}
    assert codecs["conv.weight"] == "grid"
    assert codecs["small.weight"] == "codebook"
    assert 50 <= sqnr_of(made)["conv.weight"] < 50.05
    with pytest.raises(OptionError, match=r"tensors: the pattern 'none\.\*' matches no tensor"):
        packed(source, tmp_path, tensors=[{"match": "none.*", "bits": 3}])


def test_progress_of_a_size_search_never_decreases(source: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    packed(source, tmp_path, size="40 kB", progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    done, total = calls[-1]
    assert done == total
    assert {whole for _, whole in calls} == {total}


@pytest.mark.slow
def test_bytes_do_not_depend_on_threads_or_blas_kernels(source: Path, tmp_path: Path) -> None:
    code = (
        "import sys, hashlib, vggq; from vggq.packing import pack;"
        "p = pack(sys.argv[1], sys.argv[2], size='40 kB', threads=int(sys.argv[3]));"
        "h = hashlib.sha256(p.target.read_bytes());"
        "[h.update(a.tobytes()) for a in vggq.load(p.target).values()]; print(h.hexdigest())"
    )

    def run(threads: str, **more: str) -> str:
        command = [sys.executable, "-c", code, str(source), str(tmp_path / "a.vggq"), threads]
        environment = os.environ | more
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stdout

    first = run("1", OPENBLAS_NUM_THREADS="1", OPENBLAS_CORETYPE="Prescott")
    for kernel in ("Nehalem", "Sandybridge", "Haswell"):
        assert run("3", OPENBLAS_NUM_THREADS="2", OPENBLAS_CORETYPE=kernel) == first


def test_damaged_grid_entry_names_the_tensor(source: Path, tmp_path: Path) -> None:
    made = packed(source, tmp_path, sqnr=30.0)
    data = bytearray(made.target.read_bytes())
    (place,) = (t.entry for t in made.manifest.tensors if t.name == "conv.weight")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    begin, end = header[str(place)]["data_offsets"]
    offset = 8 + int.from_bytes(data[:8], "little")
    data[offset + (begin + end) // 2] ^= 255
    with pytest.raises(DataError, match=r"tensor 'conv\.weight'"):
        vggq.load(bytes(data))
