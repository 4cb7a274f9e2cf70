"""Models of transformers in folders: built with the hook, installed, and loaded by a path."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from tests.packing.sources.test_folder import cache_snapshot, contents_of
from vggq.packing import pack

from .real_packages import PIP

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.conftest import BuildOnce

    from .conftest import Project

pytestmark = [
    pytest.mark.transformers,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "bird",
    "cat",
    "dog",
    "eats",
    "sees",
    "the",
    "tree",
]
SENTENCES = ["the cat sees a bird", "a dog eats", "the bird eats the tree"]
TABLE = """
[[tool.hatch.build.hooks.vggq.models]]
source = "weights/bert"
target = "src/tiny/bert.vggq"
"""


def save_bert(folder: Path) -> None:
    """Write a tiny BERT with its tokenizer."""
    import torch  # noqa: PLC0415
    from transformers import BertConfig, BertModel, BertTokenizer  # noqa: PLC0415

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)


@pytest.fixture
def bert(build_once: BuildOnce, tmp_path: Path) -> Path:
    """A folder that save_pretrained has written."""
    copy = tmp_path / "bert"
    shutil.copytree(build_once("bert", save_bert), copy)
    return copy


def lay_out_local(bert: Path, source: Path) -> None:
    """Copy a folder, with what `hf download --local-dir` leaves in it."""
    shutil.copytree(bert, source)
    downloads = source / ".cache" / "huggingface" / "download"
    downloads.mkdir(parents=True)
    (source / ".cache" / "huggingface" / ".gitignore").write_text("*")
    (source / ".cache" / "huggingface" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172")
    for file in bert.iterdir():
        (downloads / f"{file.name}.metadata").write_text("ab12\ncd34\n1764000000.0\n")
        (downloads / f"{file.name}.lock").write_text("")
    (source / ".gitattributes").write_text("*.safetensors filter=lfs\n")


def lay_out_snapshot(bert: Path, source: Path) -> None:
    """Make a link to a snapshot in a cache of Hugging Face, which consists of links."""
    source.symlink_to(cache_snapshot(bert))


def lay_out_saved(bert: Path, source: Path) -> None:
    """Copy a folder without changes."""
    shutil.copytree(bert, source)


def embed(folder: Path) -> NDArray[Any]:
    """Return the outputs of a model and its tokenizer for some sentences."""
    import torch  # noqa: PLC0415
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        output: NDArray[Any] = model(**batch).last_hidden_state.numpy()
    return output


@pytest.mark.parametrize("lay_out", [lay_out_local, lay_out_snapshot, lay_out_saved])
def test_folder_is_loaded_from_the_installed_wheel(
    project: Project, bert: Path, lay_out: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(bert, project.root / "weights" / "bert")
    project.configure(TABLE)
    result = project.build()
    assert result.code == 0, result.output
    site = tmp_path / "site"
    subprocess.run([*PIP, "install", "--no-deps", "--target", site, project.wheel], check=True)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "tiny", raising=False)
    with vggq.as_file("tiny", "bert.vggq") as folder:
        assert contents_of(folder).keys() == contents_of(bert).keys()
        found = embed(folder)
    monkeypatch.delitem(sys.modules, "tiny", raising=False)
    expected = embed(bert)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 0 < error < 0.01


def test_weights_are_those_that_vggq_loads(bert: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415

    from vggq.torch import load_into  # noqa: PLC0415

    packed = pack(bert, tmp_path / "bert.vggq").target
    state = vggq.load(packed)
    with vggq.as_file(packed) as folder:
        restored = AutoModel.from_pretrained(folder).state_dict()
        # Without a copy of the files, the settings are enough.
        module = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    load_into(module, packed)
    for name, tensor in restored.items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])
        np.testing.assert_array_equal(module.state_dict()[name].numpy(), state[name])
