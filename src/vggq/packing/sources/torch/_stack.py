"""The stack of a pickle: values, marks, and the containers that opcodes fill."""

from __future__ import annotations

from typing import Any

from ....errors import SourceError
from ._objects import Placeholder, make_key


def damaged_pickle(reason: str) -> SourceError:
    """Return the error to raise for a damaged pickle."""
    return SourceError(f"damaged pickle: {reason}")


class PickleStack:
    """The stack of an interpreter.

    The method for an opcode has the name of the opcode in lower case, and takes its argument.
    """

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []

    def _pop_to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _mark(self, _: object) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _tuple(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append(tuple(items))

    def _tuple1(self, _: object) -> None:
        self._join_top(1)

    def _tuple2(self, _: object) -> None:
        self._join_top(2)

    def _tuple3(self, _: object) -> None:
        self._join_top(3)

    def _join_top(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise damaged_pickle("its stack is empty")
        self._stack[-count:] = [items]

    def _list(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append(items)

    # A frozenset becomes a list: nothing looks items up in it, and hashing them takes time.
    _frozenset = _list

    def _dict(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set_items(items)

    def _append(self, _: object) -> None:
        self._add_items([self._stack.pop()])

    def _appends(self, _: object) -> None:
        self._add_items(self._pop_to_mark())

    _additems = _appends

    def _add_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Placeholder):
            target.parts.append(items)
        elif type(target) is list:
            target.extend(items)
        else:
            raise damaged_pickle("expected a list")

    def _setitem(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _setitems(self, _: object) -> None:
        self._set_items(self._pop_to_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Placeholder):
            target.parts.append(_pairs(items))
            target.has_keys = True
        elif type(target) is dict:
            target.update(_pairs(items))
        else:
            raise damaged_pickle("expected a dict")

    def _pop(self, _: object) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_to_mark()

    def _pop_mark(self, _: object) -> None:
        self._pop_to_mark()

    def _dup(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def _binstring(self, argument: str) -> None:
        """Push a string of Python 2; pickletools returns one character per byte."""
        self._stack.append(argument.encode("latin-1").decode("utf-8", "surrogateescape"))

    _short_binstring = _string = _binstring


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """Return the dict of keys and values in turn."""
    pairs = zip(items[::2], items[1::2], strict=True)
    return {make_key(key): value for key, value in pairs}
