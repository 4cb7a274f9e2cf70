"""A pickle, read and never run: an interpreter of the opcodes that state dicts are made of.

The opcodes come from the standard library's `pickletools.genops`, which only parses. What a pickle
may name is a fixed table; everything else is refused by name, before anything is done with it.
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Callable
from typing import IO, Any, Final

Call = Callable[..., Any]
"""Stands in for a function or class that a pickle names; checks its arguments itself."""

_LONGEST_LINE: Final = 1 << 16
_LONGEST_NAME: Final = 200
_WORD_BITS: Final = 64
_MOST_ARGUMENTS: Final = 16
# What calls may be given to iterate over: the same list, again and again, would take for ever.
_MOST_ITEMS: Final = 1_000_000
_FREE: Final = 1 << 12


# What pickletools, or what stands in for a name, raises over damage depends on where it is.
_DAMAGE: Final = (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError)


class PickleError(ValueError):
    """A pickle is damaged, or is not a state dict's."""


class _Bounded:
    """A file that is never asked for more bytes than it has: to ask takes their memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        position = file.tell()
        self._end = file.seek(0, os.SEEK_END)
        file.seek(position)
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        # Most are a byte, and to ask where a file stands takes as long as to read it.
        return self._file.read(size if size < _FREE else min(size, self._end - self._file.tell()))

    def readline(self) -> bytes:
        return self._file.readline(_LONGEST_LINE)


class Pickle:
    """One pickle's interpreter.

    Args:
        names: what the pickle may name, as "module name", and what stands in for each.
        persistent: makes something of a persistent id.

    """

    def __init__(self, names: dict[str, Any], persistent: Callable[[Any], Any]) -> None:
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._items = 0
        self._memo: dict[int, Any] = {}

    def load(self, file: IO[bytes]) -> Any:
        """The pickled object; the file is left behind the pickle.

        Raises:
            PickleError: the pickle is damaged, or names what is not in the table.

        """
        try:
            bounded: Any = _Bounded(file)
            for opcode, argument, _ in pickletools.genops(bounded):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._do(opcode.name, argument)
        except PickleError:
            raise
        except _DAMAGE as error:
            raise PickleError(f"a damaged pickle: {error}") from error
        raise PickleError("a pickle that does not end")

    def _do(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _MEMO_WRITES:
            self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]
        elif name in _MEMO_READS:
            self._stack.append(self._memo[argument])
        elif name not in _IGNORED:
            action = getattr(self, f"_{name.lower()}", None)
            if action is None:
                raise PickleError(f"the pickle uses {name}, which no state dict needs")
            action(argument)

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _mark(self, _: object) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _tuple(self, _: object) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _tuple1(self, _: object) -> None:
        self._last(1)

    def _tuple2(self, _: object) -> None:
        self._last(2)

    def _tuple3(self, _: object) -> None:
        self._last(3)

    def _last(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise PickleError("a damaged pickle: its stack is empty")
        self._stack[-count:] = [items]

    def _list(self, _: object) -> None:
        items = self._since_mark()
        self._stack.append(items)

    # A set is kept as a list: nothing is to be looked up in it, and to hash takes time.
    _frozenset = _list

    def _dict(self, _: object) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set(items)

    def _append(self, _: object) -> None:
        item = self._stack.pop()
        self._target(list).append(item)

    def _appends(self, _: object) -> None:
        items = self._since_mark()
        self._target(list).extend(items)

    _additems = _appends

    def _setitem(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self, _: object) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._target(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[plain_key(key)] = value

    def _target(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise PickleError(f"a damaged pickle: a {kind.__name__} was expected")
        return self._stack[-1]

    def _pop(self, _: object) -> None:
        self._stack.pop()

    def _binstring(self, argument: str) -> None:
        """A string of Python 2, as which pickletools gives one character a byte."""
        self._stack.append(argument.encode("latin-1").decode("utf-8", "surrogateescape"))

    _short_binstring = _string = _binstring

    def _global(self, argument: str) -> None:
        self._name(argument)

    def _stack_global(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(f"{module} {name}")

    def _name(self, name: str) -> None:
        if name not in self._names:
            named = name[:_LONGEST_NAME].replace(" ", ".")
            raise PickleError(
                f"the pickle names {named}, which is not of a state dict; nothing "
                "of it was run. Save the model's state dict: torch.save(model.state_dict(), path)"
            )
        self._stack.append(self._names[name])

    def _reduce(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not callable(function) or type(arguments) is not tuple:
            raise PickleError("a damaged pickle: a call of what is no function")
        self._items += sum(len(item) for item in arguments[:1] if isinstance(item, list | tuple))
        if len(arguments) > _MOST_ARGUMENTS or self._items > _MOST_ITEMS:
            raise PickleError("the pickle calls for more work than any state dict's")
        self._stack.append(function(*arguments))

    def _build(self, _: object) -> None:
        # The metadata that torch hangs on a state dict: versions of modules, no tensors.
        self._stack.pop()
        self._target(dict)

    def _binpersid(self, _: object) -> None:
        self._stack.append(self._persistent(self._stack.pop()))


def plain_key(key: object) -> Any:
    """A key of a table: a string or a number.

    Tuples of tuples could take for ever to hash, and so could long numbers.

    Raises:
        PickleError: it is anything else.

    """
    if key is None or type(key) in (str, bytes, float, bool):
        return key
    if type(key) is int and key.bit_length() <= _WORD_BITS:
        return key
    raise PickleError(f"a key of a table is a {type(key).__name__}, as none of a state dict is")


_VALUES: Final = frozenset(
    {
        "BINBYTES", "BINBYTES8", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE",
        "BINUNICODE8", "BYTEARRAY8", "FLOAT", "INT", "LONG", "LONG1", "LONG4", "SHORT_BINBYTES",
        "SHORT_BINUNICODE", "UNICODE",
    }
)  # fmt: skip
_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_MEMO_WRITES: Final = frozenset({"BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"})
_MEMO_READS: Final = frozenset({"BINGET", "LONG_BINGET", "GET"})
_IGNORED: Final = frozenset({"PROTO", "FRAME"})
