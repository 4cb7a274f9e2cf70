"""Trials: encode a source, restore it in memory, and evaluate it."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import _load, _model
from ..encoder import Encoder
from ..evaluations import digest_tensors
from .cache import digest_of
from .plans import plan_to_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..encoder import EncodedFile
    from ..options import Options
    from .cache import ResultCache
    from .evaluation import Judge
    from .plan_encoder import PlanEncoder
    from .plans import Plan


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a trial.

    Attributes:
        size: bytes of the packed file.
        metrics: the metrics of the restored weights.
        sizes: stored bytes of each quantized tensor.
        noises: the squared error of each quantized tensor.
        sha256: the digest of the restored tensors; empty if the file was not packed by options.

    """

    size: int
    metrics: Mapping[str, float]
    sizes: Mapping[str, int] = field(default_factory=dict)
    noises: Mapping[str, float] = field(default_factory=dict)
    sha256: str = ""


@dataclass(slots=True)
class TrialRunner:
    """Run trials of one source.

    Attributes:
        encoder: encodes the source by plans.
        judge: measures the restored weights.
        cache: the results.
        advance: called after each trial.
        evaluations: the number of evaluations that were not in the cache.

    """

    encoder: PlanEncoder
    judge: Judge
    cache: ResultCache
    advance: Callable[[], None] = lambda: None
    evaluations: int = 0

    def run(self, plan: Plan) -> Trial:
        """Return the result of a plan, from the cache if it is there.

        Raises:
            OptionError: the function of the user fails.
            SourceError: a tensor cannot be read.

        """
        found = self._find("plan", plan_to_record(plan), lambda: self._run(plan))
        self.encoder.learn(plan, found.sizes)
        return found

    def pack(self, options: Options) -> Trial:
        """Return the result of packing with options exactly as `pack` does.

        Raises:
            OptionError: the function of the user fails, or no file is as small as the size.
            SourceError: a tensor cannot be read.

        """
        return self._find("packed", options.to_record(), lambda: self._pack(options))

    def _find(self, kind: str, record: object, run: Callable[[], dict[str, Any]]) -> Trial:
        """Return a result from the cache, or run the trial."""
        key = digest_of(kind, record)
        found = self.cache.get(key)
        if found is None:
            found = run()
            self.cache.put(key, found)
        self.advance()
        return Trial(**found)

    def _run(self, plan: Plan) -> dict[str, Any]:
        with self.encoder.encode(plan) as encoded:
            found = self._evaluate(encoded)
        measured = self.encoder.measure(plan)
        found["sizes"] = {name: m.size for name, m in measured.items()}
        found["noises"] = {name: m.noise for name, m in measured.items()}
        return found

    def _pack(self, options: Options) -> dict[str, Any]:
        source, layouts, threads = self.encoder.source, self.encoder.layouts, self.encoder.threads
        with tempfile.TemporaryDirectory() as folder:
            encoder = Encoder(source, options, Path(folder), threads, None, layouts)
            with encoder.encode() as encoded:
                found = self._evaluate(encoded)
                found["sha256"] = digest_tensors(_load.load(_as_bytes(encoded)))
        return found

    def _evaluate(self, encoded: EncodedFile) -> dict[str, Any]:
        self.evaluations += 1
        return {"size": encoded.size, "metrics": dict(self._measure(encoded))}

    def _measure(self, encoded: EncodedFile) -> Mapping[str, float]:
        if not self.encoder.layouts:
            return self.judge.measure(_load.load(_as_bytes(encoded)))
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "trial.vggq")
            with target.open("wb") as opened:
                encoded.write_to(opened)
            with _model.as_file(target) as path:
                return self.judge.measure(path)


def _as_bytes(encoded: EncodedFile) -> bytes:
    file = io.BytesIO()
    encoded.write_to(file)
    return file.getvalue()
