"""Readers that fill a torch module, or load to a GPU, each used as its documentation says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from restore_readers import Load, Reader

if TYPE_CHECKING:
    from pathlib import Path

LOAD_INTO: Final = "vggq.torch.load_into"
VGGQ_CUDA: Final = "vggq.torch.load(device='cuda')"
LOAD_INTO_CUDA: Final = "vggq.torch.load_into, module on the GPU"
SAFETENSORS_CUDA: Final = "safetensors.torch.load_file(device='cuda')"


def make_module(packed: Path, device: str = "cpu", *, is_filled: bool = True) -> Any:
    """Return a module with the parameters of a packed file, whose names are `LAYER.NAME`.

    Args:
        packed: the packed file.
        device: the device of the parameters.
        is_filled: write values to the parameters, as the constructors of layers do. Otherwise their
            memory is not yet mapped to pages.

    """
    import torch  # noqa: PLC0415

    import vggq  # noqa: PLC0415

    module: Any = torch.nn.Module()
    make = torch.ones if is_filled else torch.empty
    with vggq.open(packed) as weights:
        for name, tensor in weights.tensors.items():
            layer, _, kind = name.rpartition(".")
            if not hasattr(module, layer):
                module.add_module(layer, torch.nn.Module())
            parameter = torch.nn.Parameter(make(tensor.shape, device=device))
            getattr(module, layer).register_parameter(kind, parameter)
    return module


def _load_into(path: Path, threads: int | None) -> Load:
    import vggq.torch  # noqa: PLC0415

    module = make_module(path)
    return lambda: vggq.torch.load_into(module, path, threads=threads)


def _load_into_fresh(path: Path, threads: int | None) -> Load:
    import vggq.torch  # noqa: PLC0415

    module = make_module(path, is_filled=False)
    return lambda: vggq.torch.load_into(module, path, threads=threads)


def _load_safetensors(path: Path, _: int | None) -> Load:
    from safetensors.torch import load_file  # noqa: PLC0415

    module = make_module(path.with_suffix(".vggq"))
    return lambda: module.load_state_dict(load_file(path))


def _cuda(path: Path, threads: int | None) -> Load:
    import vggq.torch  # noqa: PLC0415

    return synchronized(lambda: vggq.torch.load(path, device="cuda", threads=threads))


def _load_into_cuda(path: Path, threads: int | None) -> Load:
    import vggq.torch  # noqa: PLC0415

    module = make_module(path, "cuda")

    def load() -> dict[str, Any]:
        vggq.torch.load_into(module, path, threads=threads)
        state: dict[str, Any] = module.state_dict()
        return state

    return synchronized(load)


def _safetensors_cuda(path: Path, _: int | None) -> Load:
    from safetensors.torch import load_file  # noqa: PLC0415

    return synchronized(lambda: load_file(path, device="cuda"))


def synchronized(load: Load) -> Load:
    """Return a load that waits for the GPU, whose context is created before."""
    import torch  # noqa: PLC0415

    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()

    def load_and_wait() -> Any:
        result = load()
        torch.cuda.synchronize()
        return result

    return load_and_wait


MODULE_READERS: Final = (
    Reader(LOAD_INTO, ".vggq", _load_into, torch=True),
    Reader(f"{LOAD_INTO}, memory never used", ".vggq", _load_into_fresh, torch=True),
    Reader(
        "module.load_state_dict(safetensors.torch.load_file)",
        ".safetensors",
        _load_safetensors,
        torch=True,
    ),
)
"""The readers that fill a module on the CPU."""

CUDA_READERS: Final = (
    Reader(VGGQ_CUDA, ".vggq", _cuda, torch=True),
    Reader(LOAD_INTO_CUDA, ".vggq", _load_into_cuda, torch=True),
    Reader(SAFETENSORS_CUDA, ".safetensors", _safetensors_cuda, torch=True),
)
"""The readers to a GPU."""
