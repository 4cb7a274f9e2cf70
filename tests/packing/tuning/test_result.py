"""The table that a run of `vggq tune` gives to paste."""

from __future__ import annotations

import tomllib

import pytest

from vggq.packing import OptionKeywords, Options
from vggq.packing.tuning import option_lines


@pytest.mark.parametrize(
    "keywords",
    [
        {"bits": 4, "include": ["*.onnx", 'a"b'], "exclude": ["*.bin"], "restore": "model"},
        {"size": 9000, "objective": "overall", "dependent": False, "effort": "fast"},
        {"key": ["a", "b"], "drop": ["x.*"], "rename": {r"^a\.(\d)": r"\1"}, "keep": ["w*"]},
        {"layout": "torch", "dtypes": {"k*": "bfloat16"}, "drop": ["\U000e0001 \x85"]},
        {
            "bits": 5,
            "evaluation": {
                "metric": "error \u2028",
                "original": 0.0,
                "packed": 1.5e-07,
                "sha256": "0" * 64,
            },
        },
    ],
)
def test_table_gives_the_same_options(keywords: OptionKeywords) -> None:
    options = Options(**keywords)
    table = tomllib.loads("\n".join(option_lines(options)))
    assert Options(**table).to_record() == options.to_record()
