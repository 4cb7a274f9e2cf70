"""Run a package of `real_packages` on images, and save its outputs.

::

    python -m tests.hook.real_outputs nudenet|rapidocr_onnxruntime OUT.npz
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


FUNCTIONS: Final[dict[str, Callable[[], Outputs]]] = {
    "nudenet": nudenet,
    "rapidocr_onnxruntime": rapidocr,
}

if __name__ == "__main__":
    np.savez(sys.argv[2], **FUNCTIONS[sys.argv[1]]())  # type: ignore[arg-type]
