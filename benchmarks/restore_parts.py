"""The parts of `restore.py`: which readers and files each of its tables compares."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from restore_cases import (
    DEFAULT_THREADS,
    GRIDS,
    Setting,
    cuda_cases,
    first_loads,
    rivals,
    thread_counts,
    with_grids,
)
from restore_files import write_model, write_packages, write_rivals, write_torch
from restore_imports import measure_imports
from restore_measure import Case, measure_first_loads, measure_repeated_loads
from restore_readers import (
    FILE_READERS,
    MODEL_READERS,
    NPZ_BYTES,
    SAFETENSORS,
    SAFETENSORS_BYTES,
    SAFETENSORS_RESOURCE,
    TORCH,
    VGGQ,
    VGGQ_RESOURCE,
    VGGQ_TORCH,
)
from restore_torch_readers import (
    MODULE_READERS,
    SAFETENSORS_CUDA,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from restore_results import Table

PAUSE: Final = 0.2
"""Seconds after which the threads that numpy's import has started are idle."""

# glibc: take no memory from mmap, give none back to the system, and share it among threads.
_KEEP_MEMORY: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True)
class Part:
    """A part that can be selected.

    Attributes:
        measure: yields the tables.
        stems: the packed files that it needs.
        needs: "torch", "cuda" or nothing.
        help: one line for the command line.

    """

    measure: Callable[[Setting], Iterator[Table]]
    stems: tuple[str, ...]
    needs: str
    help: str


def measure_numpy(setting: Setting) -> Iterator[Table]:
    """Compare the readers that return numpy arrays."""
    write_rivals(setting.folder / "vgg19.vggq")
    readers = [r for r in FILE_READERS if not r.torch and r.suffix != ".vggq"]
    cases = [*with_grids(setting, VGGQ), *rivals(setting, "vgg19", readers)]
    yield from first_loads(setting, "numpy", "VGG19", cases, SAFETENSORS)


def measure_later(setting: Setting) -> Iterator[Table]:
    """Compare the readers that return numpy arrays, once numpy's threads are idle."""
    write_rivals(setting.folder / "vgg19.vggq")
    base = Case(SAFETENSORS, setting.folder / "vgg19.safetensors")
    cases = [*with_grids(setting, VGGQ), base]
    title = f"VGG19, all cores, {PAUSE} s after the import"
    yield measure_first_loads(
        "later", title, cases, SAFETENSORS,
        cores=max(setting.cores.values()), rounds=setting.rounds, pause=PAUSE,
    )  # fmt: skip


def measure_torch(setting: Setting) -> Iterator[Table]:
    """Compare the readers that return torch tensors."""
    write_rivals(setting.folder / "vgg19.vggq")
    write_torch(setting.folder / "vgg19.vggq")
    readers = [r for r in FILE_READERS if r.torch and r.suffix != ".vggq"]
    codebooks, _, dependent = with_grids(setting, VGGQ_TORCH)
    cases = [codebooks, dependent, *rivals(setting, "vgg19", readers)]
    yield from first_loads(setting, "torch", "VGG19 to torch", cases, TORCH)


def measure_small(setting: Setting) -> Iterator[Table]:
    """Compare the readers with many small tensors."""
    packed = setting.folder / "small.vggq"
    write_rivals(packed)
    readers = [r for r in FILE_READERS if r.name in {SAFETENSORS, "numpy.load, npz"}]
    cases = [Case(VGGQ, packed), *rivals(setting, "small", readers)]
    yield from first_loads(setting, "small", "3,000 small tensors", cases, SAFETENSORS)


def measure_threads(setting: Setting) -> Iterator[Table]:
    """Measure each codec with every number of threads."""
    write_rivals(setting.folder / "vgg19.vggq")
    base = Case(SAFETENSORS, setting.folder / "vgg19.safetensors")
    for case in with_grids(setting, VGGQ):
        cases = [Case(VGGQ, case.path, str(n), threads=n) for n in thread_counts()]
        cases = [base, *cases, Case(VGGQ, case.path, DEFAULT_THREADS)]
        codec = case.name.removeprefix(VGGQ).removeprefix(", ") or "codebooks"
        cores = len(os.sched_getaffinity(0))
        title = f"VGG19 by threads, {codec}"
        yield measure_first_loads(
            "threads", title, cases, SAFETENSORS, cores=cores, rounds=setting.rounds
        )


def measure_packages(setting: Setting) -> Iterator[Table]:
    """Compare the readers of a file in a package: installed, and in a zip archive."""
    write_rivals(setting.folder / "vgg19.vggq")
    write_packages(setting.folder, "vgg19")
    for place, entry, readers in (
        ("an installed package", "installed", (SAFETENSORS_RESOURCE, VGGQ_RESOURCE)),
        ("a stored zip", "stored.zip", (SAFETENSORS_BYTES, VGGQ_RESOURCE, NPZ_BYTES)),
        ("a deflated zip", "deflated.zip", (SAFETENSORS_BYTES, VGGQ_RESOURCE, NPZ_BYTES)),
    ):
        cases = [Case(reader, setting.folder / entry) for reader in readers]
        yield measure_first_loads(
            "packages", f"VGG19 from {place}", cases, readers[0],
            cores=max(setting.cores.values()), rounds=setting.rounds,
        )  # fmt: skip


def measure_modules(setting: Setting) -> Iterator[Table]:
    """Compare the ways to fill a torch module."""
    packed = setting.folder / "vgg19.vggq"
    write_rivals(packed)
    others = [Case(r.name, setting.folder / f"vgg19{r.suffix}") for r in MODULE_READERS]
    cases = [Case(VGGQ_TORCH, packed), *others]
    title = "VGG19 into a torch module"
    yield from first_loads(setting, "modules", title, cases, VGGQ_TORCH)


def measure_models(setting: Setting) -> Iterator[Table]:
    """Compare the restored file of a model with its tensors."""
    packed = setting.folder / "vgg19-model.vggq"
    write_model(packed)
    others = [Case(r.name, setting.folder / f"{packed.stem}{r.suffix}") for r in MODEL_READERS]
    cases = [Case(VGGQ, packed), *others]
    yield from first_loads(setting, "models", "VGG19 as a file", cases, VGGQ)


def measure_import(setting: Setting) -> Iterator[Table]:
    """Measure the import, and the load of a small model with it."""
    packed = setting.folder / "tiny.vggq"
    write_rivals(packed)
    yield from measure_imports(packed, setting.folder / "tiny.npz", setting.rounds)


def measure_repeated(setting: Setting) -> Iterator[Table]:
    """Measure loads that alternate in one process."""
    write_rivals(setting.folder / "vgg19.vggq")
    readers = [r for r in FILE_READERS if not r.torch and r.suffix != ".vggq" and not r.lazy]
    cases = [*with_grids(setting, VGGQ), *rivals(setting, "vgg19", readers)]
    for words, cores in setting.cores.items():
        for title, environment in (("", {}), (", malloc keeps freed memory", _KEEP_MEMORY)):
            yield measure_repeated_loads(
                "repeated", f"VGG19, repeated loads{title}, {words}", cases, SAFETENSORS,
                cores=cores, rounds=setting.rounds, environment=environment,
            )  # fmt: skip


def measure_cuda(setting: Setting) -> Iterator[Table]:
    """Measure repeated loads to a GPU."""
    write_rivals(setting.folder / "vgg19.vggq")
    yield measure_repeated_loads(
        "cuda", "VGG19 to a GPU, repeated loads", cuda_cases(setting), SAFETENSORS_CUDA,
        cores=len(os.sched_getaffinity(0)), rounds=setting.rounds,
    )  # fmt: skip


def measure_cuda_first(setting: Setting) -> Iterator[Table]:
    """Measure first loads to a GPU, after its context was created."""
    write_rivals(setting.folder / "vgg19.vggq")
    yield measure_first_loads(
        "cuda-first", "VGG19 to a GPU, first load", cuda_cases(setting), SAFETENSORS_CUDA,
        cores=len(os.sched_getaffinity(0)), rounds=setting.rounds,
    )  # fmt: skip


_VGG19: Final = ("vgg19", *GRIDS)
PARTS: Final = {
    "numpy": Part(measure_numpy, _VGG19, "", "VGG19 to numpy arrays, first load"),
    "later": Part(measure_later, _VGG19, "", "VGG19, a moment after the import"),
    "torch": Part(measure_torch, _VGG19, "torch", "VGG19 to torch tensors, first load"),
    "threads": Part(measure_threads, _VGG19, "", "VGG19 with every number of threads"),
    "small": Part(measure_small, ("small",), "", "3,000 small tensors"),
    "packages": Part(measure_packages, ("vgg19",), "", "from installed packages and zip archives"),
    "modules": Part(measure_modules, ("vgg19",), "torch", "into a torch module"),
    "models": Part(measure_models, ("vgg19-model",), "", "read_bytes and as_file"),
    "import": Part(measure_import, ("tiny",), "", "import, and the load of a small model"),
    "repeated": Part(measure_repeated, _VGG19, "", "repeated loads in one process"),
    "cuda": Part(measure_cuda, _VGG19, "cuda", "repeated loads to a GPU"),
    "cuda-first": Part(measure_cuda_first, _VGG19, "cuda", "first loads to a GPU"),
}  # fmt: skip
