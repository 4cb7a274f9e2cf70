"""Histograms of arrays of any dtype."""

from __future__ import annotations

import warnings

import numpy as np

from vggq.packing.report.histograms import make_histogram


def test_histogram_of_a_complex_array_has_both_parts() -> None:
    values = np.array([[1 + 2j, 3 - 4j], [complex(np.nan, 5), complex(6, np.inf)]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = make_histogram(values)
    expected = make_histogram(np.array([1, 2, 3, -4, 5, 6]))
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.edges, expected.edges)
