"""Centroids found by the dynamic program, compared with those of exact k-means."""

from __future__ import annotations

import sys
from functools import partial

import kmeans1d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests import strategies
from vggq.errors import MissingDependencyError
from vggq.packing.codecs.codebook.kmeans import find_centroids

N = 6000
RNG = np.random.default_rng(20)

Floats = NDArray[np.float32]

DISTRIBUTIONS: dict[str, Floats] = {
    name: values.astype(np.float32)
    for name, values in {
        "gaussian": RNG.standard_normal(N),
        "laplace": RNG.laplace(size=N),
        "student-t, 3 degrees of freedom": RNG.standard_t(3, N),
        "uniform": RNG.random(N),
        "outliers": np.concatenate([RNG.standard_normal(N), [1e3, -2e4, 3e5, 1e6, 2e6]]),
        "few distinct values": RNG.integers(0, 700, N) / 7,
        "float16": RNG.standard_normal(N).astype(np.float16),
        "mostly zero": np.where(RNG.random(N) < 0.9, 0, RNG.standard_normal(N)),
        "far from zero": RNG.standard_normal(N) + 1000,
        "two clusters": np.concatenate([RNG.normal(-5, 0.01, N // 2), RNG.normal(5, 2, N // 2)]),
        "tiny": RNG.standard_normal(N) * 1e-40,
    }.items()
}

find_binned_centroids = partial(find_centroids, max_exact_cost=0)


def noise(values: Floats, codebook: Floats) -> float:
    """Return the squared error of the nearest centroid, summed over all values."""
    centroids = codebook.astype(np.float64)
    codes = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
    return float(np.square(values - centroids[codes]).sum())


@pytest.mark.parametrize("k", [2, 3, 4, 8, 16, 64, 256])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_dynamic_program_is_within_a_hundredth_of_a_decibel_of_exact_kmeans(
    name: str, k: int
) -> None:
    values = DISTRIBUTIONS[name]
    exact = np.unique(np.array(kmeans1d.cluster(values, k).centroids, np.float32))
    found = find_binned_centroids(values, k)
    assert found.size <= k
    assert 10 * np.log10(noise(values, found) / noise(values, exact)) <= 0.01


@pytest.mark.parametrize("k", [1, 2, 256])
def test_at_most_k_distinct_values_are_the_centroids(k: int) -> None:
    rng = np.random.default_rng(k)
    values = rng.standard_normal(k).astype(np.float32)
    codebook = find_centroids(rng.choice(values, 5000), k)
    assert set(codebook) <= set(values)
    assert find_centroids(np.full((20, 50), 0.3, np.float32), k).tolist() == [np.float32(0.3)]


def test_small_tensors_use_exact_kmeans() -> None:
    values = np.random.default_rng(1).standard_normal((32, 32)).astype(np.float32)
    exact = np.unique(np.array(kmeans1d.cluster(values.reshape(-1), 256).centroids, np.float32))
    np.testing.assert_array_equal(find_centroids(values, 256), exact)


@settings(deadline=None, max_examples=150)
@given(strategies.finite_weights, st.integers(1, 256))
def test_centroids_of_any_finite_weights_are_ascending_and_no_worse_than_the_mean(
    values: Floats, k: int
) -> None:
    codebook = find_binned_centroids(values, k)
    assert codebook.dtype == np.float32
    assert 1 <= codebook.size <= k
    assert np.isfinite(codebook).all()
    assert (np.diff(codebook.astype(np.float64)) > 0).all()
    mean = np.array([values.astype(np.float64).mean()], np.float32)
    # Centroids are rounded to float32, as the mean is.
    assert noise(values, codebook) <= noise(values, mean) * (1 + 1e-6)


@pytest.mark.parametrize("size", [2000, 60_000])
def test_order_of_the_weights_does_not_matter(size: int) -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal(size).astype(np.float32)
    expected = find_centroids(values, 64)
    np.testing.assert_array_equal(find_centroids(rng.permutation(values), 64), expected)


def test_missing_kmeans1d_raises_an_error_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "kmeans1d", None)
    with pytest.raises(MissingDependencyError) as caught:
        find_centroids(np.arange(1000, dtype=np.float32), 16)
    assert str(caught.value) == "kmeans1d is not installed: pip install 'hatch-vggq[build]'"
