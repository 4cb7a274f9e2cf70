"""Open a source for a run: the evaluation of the original, the groups and the cache."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from ... import _threads
from ..._manifest_json import FORMAT_VERSION
from ...errors import OptionError
from ..compression import zstd_version
from ..encoder import ENCODER_VERSION
from ..model_layout import plan_model
from ..packer import check_names
from ..sources import hash_file, open_source
from ..sweeps import original_argument
from ..user_function import import_function
from .cache import ResultCache, default_folder, digest_of
from .evaluation import Judge
from .function_checks import check_repetition
from .groups import find_groups
from .objective import choose_objective
from .plan_encoder import PlanEncoder
from .sensitivity import count_trials
from .trials import TrialRunner
from .tuning_run import TuningRun

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from ..encoder import Progress
    from ..options import Options
    from ..sources import Source
    from .goal import TuneGoal
    from .groups import Group
    from .records import TuneSettings

_CANDIDATES: Final = 16


@contextmanager
def open_run(
    source: str | os.PathLike[str],
    settings: TuneSettings,
    goal: TuneGoal,
    options: Options,
    progress: Progress | None,
) -> Iterator[TuningRun]:
    """Open the source, evaluate the original, and find the groups.

    Args:
        source: the checkpoint.
        settings: the settings of the run.
        goal: the goal.
        options: the options of reading, and all others that are not tuned.
        progress: called after each trial with the number of trials done, and about the total.

    Raises:
        OptionError: the function fails, its results for the same weights differ, there is nothing
            to quantize, or no folder for the cache is known.
        SourceError: the source cannot be read.

    """
    folder = settings.cache or default_folder()
    deadline = None if settings.time_limit is None else time.monotonic() + settings.time_limit
    function = import_function(settings.evaluation)
    judge = Judge(function, settings.seed)
    with open_source(source, options.read) as opened:
        check_names(options, [tensor.name for tensor in (*opened.tensors, *opened.kept)])
        judge.measure_original(original_argument(opened, source))
        objective = choose_objective(
            judge, goal, settings.metric, lower_is_better=settings.lower_is_better
        )
        # A function may change its argument in place.
        check_repetition(judge, objective, original_argument(opened, source))
        planned, layouts = plan_model(opened)
        groups = find_groups(planned, options)
        if not groups:
            raise OptionError([("eval", "the source has no tensors that are quantized")])
        names = tuple(name for group in groups for name in group.names)
        copies = frozenset[str]().union(*(group.copies for group in groups))
        threads = _threads.count_processors()
        encoder = PlanEncoder(planned, layouts, options, threads, names, copies)
        context = _context(opened, settings, options, judge)
        runner = TrialRunner(encoder, judge, ResultCache(folder, context))
        if progress is not None:
            runner.advance = _counter(progress, _expect_trials(groups, settings))
        yield TuningRun(runner, groups, settings, goal, objective, deadline)


def _expect_trials(groups: Sequence[Group], settings: TuneSettings) -> int:
    return count_trials(groups) + _CANDIDATES + settings.trials


def _counter(progress: Progress, expected: int) -> Callable[[], None]:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, max(expected, done + 1))

    return advance


def _context(source: Source, settings: TuneSettings, options: Options, judge: Judge) -> str:
    """Return the digest of everything that the result of a trial depends on besides its plan.

    What the function reads, and the libraries that it uses, show in its result for the original.
    """
    module = judge.function.file
    return digest_of(
        source.sha256,
        source.format,
        options.to_record(),
        settings.evaluation,
        hash_file(module) if module is not None and module.is_file() else None,
        judge.summarize_original(),
        settings.seed,
        [np.__version__, zstd_version()],
        [FORMAT_VERSION, ENCODER_VERSION],
    )
