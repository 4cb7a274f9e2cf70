"""Strict parsing of JSON objects."""

from __future__ import annotations

import pytest

from vggq._json import is_count, is_shape, parse_json
from vggq.errors import HeaderError


def test_object_is_parsed() -> None:
    assert parse_json('{"é": [1, {"a": null}]}'.encode()) == {"é": [1, {"a": None}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff", "not valid JSON: 'utf-8' codec"),
        (b"{", "not valid JSON: "),
        (b"[" * 100_000, "not valid JSON: "),
        (b'{"a": Infinity}', "not valid JSON: Infinity is not JSON"),
        (b'{"a": {"b": 1, "b": 1}}', "not valid JSON: an object has a key twice"),
        (b"[]", "not a JSON object"),
        (b"3", "not a JSON object"),
    ],
)
def test_invalid_text_is_rejected(text: bytes, message: str) -> None:
    with pytest.raises(HeaderError) as caught:
        parse_json(text)
    assert str(caught.value).startswith(message)


def test_counts_are_integers_up_to_2_to_the_53() -> None:
    assert all(map(is_count, [0, 1, 2**53]))
    assert not any(map(is_count, [-1, 2**53 + 1, 1.0, True, "1", None]))


def test_shapes_have_at_most_32_axes_and_2_to_the_53_elements() -> None:
    assert all(map(is_shape, [[], [0], [2**53, 0], [1] * 32, [2**26, 2**27]]))
    assert not any(map(is_shape, [(), "1", [-1], [1] * 33, [2**27, 2**27], [2**53, 0, 2]]))
