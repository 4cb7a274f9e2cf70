"""Advice for weights in formats that cannot be read."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING

import pytest

from vggq.errors import SourceError
from vggq.packing.sources import identify_format

if TYPE_CHECKING:
    from pathlib import Path


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        identify_format(path)
    assert caught.value.path == path
    return caught.value.reason


# The first bytes of such files. With 123 tensors, a GGUF header looks like one of safetensors.
GGUF = b"GGUF\x03\x00\x00\x00\x7b\x00\x00\x00\x00\x00\x00\x00"
SAVED_MODEL = b"\x08\x01\x12\x80\x01\x0a\x40"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.gguf", GGUF),
        ("model.GGUF", b""),
        ("model", GGUF),
        ("model.safetensors", GGUF),
        ("model.onnx", GGUF),
    ],
)
def test_gguf_is_rejected_with_advice(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    message = error_of(tmp_path / name)
    assert message.startswith("looks like GGUF, which is not supported; use the checkpoint that it")
    assert "AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)" in message


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("model.ckpt", b"\x00\x01weights", "checkpoint"),
        ("Model.ckpt.index", b"\x00\x00\x0a", "checkpoint"),
        ("model.ckpt.data-00000-of-00001", bytes(40), "checkpoint"),
        ("variables.data-00001-of-00002", bytes(40), "checkpoint"),
        ("saved_model.pb", SAVED_MODEL, "model"),
        ("frozen.pb", b"\x0a\x40\x0a", "model"),
    ],
)
def test_tensorflow_files_are_rejected_with_advice(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    message = error_of(tmp_path / name)
    assert message.startswith(
        f"looks like a TensorFlow {kind}, which is not supported; load it with TensorFlow"
    )
    assert "model.save_weights('model.weights.h5')" in message
    assert "safetensors.numpy.save_file" in message


def test_saved_model_folders_and_checkpoint_prefixes_are_rejected_with_advice(
    tmp_path: Path,
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(SAVED_MODEL)
    assert error_of(tmp_path).startswith("looks like a TensorFlow model, ")
    (tmp_path / "model.ckpt.index").write_bytes(b"\x00")
    assert error_of(tmp_path / "model.ckpt").startswith("looks like a TensorFlow checkpoint, ")


def test_a_torch_checkpoint_named_like_tensorflow_is_supported(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    assert identify_format(path).name == "torch"
