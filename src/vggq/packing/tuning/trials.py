"""Trials: encode a source, restore it in memory, and evaluate it."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import _load, _model
from ..encoder import Encoder
from ..evaluations import digest_tensors
from .cache import digest_of
from .plans import plan_to_record
from .trial import Trial, trial_from_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..encoder import EncodedFile
    from ..options import Options
    from .cache import ResultCache
    from .evaluation import Judge
    from .plan_encoder import PlanEncoder
    from .plans import Plan
    from .trial import TrialKind


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
        found = self._find("plan", plan_to_record(plan), plan, lambda: self._run(plan))
        self.encoder.learn(plan, found.sizes)
        return found

    def pack(self, options: Options) -> Trial:
        """Return the result of packing with options exactly as `pack` does.

        Raises:
            OptionError: the function of the user fails, or no file is as small as the size.
            SourceError: a tensor cannot be read.

        """
        names = self.encoder.names
        return self._find("packed", options.to_record(), names, lambda: self._pack(options))

    def _find(
        self,
        kind: TrialKind,
        record: object,
        names: Iterable[str],
        run: Callable[[], dict[str, Any]],
    ) -> Trial:
        """Return a result for the tensors of these names from the cache, or run the trial."""
        key = digest_of(kind, record)
        found = trial_from_record(kind, self.cache.get(key), names, self.judge.original)
        if found is None:
            result = run()
            self.cache.put(key, result)
            found = Trial(**result)
        self.advance()
        return found

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
                found["sizes"] = self._read_sizes(encoded)
        return found

    def _read_sizes(self, encoded: EncodedFile) -> dict[str, int]:
        entries = {info.name: info.entry for info in encoded.manifest.tensors}
        return {name: encoded.frames.sizes[entries[name]] for name in self.encoder.names}

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
