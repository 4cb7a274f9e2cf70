"""An interpreter of the pickle opcodes in state dicts, which never runs code of the pickle.

The standard library's `pickletools.genops` parses the opcodes. A fixed table lists the globals that
a pickle may refer to; any other global is rejected by name before it is used.
"""

from __future__ import annotations

import os
import pickletools
from typing import IO, TYPE_CHECKING, Any, Final

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_LINE_SIZE: Final = 1 << 16
_MAX_NAME_SHOWN: Final = 200
_MAX_KEY_BITS: Final = 64
_MAX_ARGUMENTS: Final = 16
# Limits the work of calls that iterate over an argument: a pickle can pass one list many times.
_MAX_ITEMS: Final = 1_000_000
_MIN_BOUNDED_READ: Final = 1 << 12

# The exception that damage causes in pickletools, or in a stand-in, depends on where the damage is.
_PICKLE_ERRORS: Final = (ValueError, IndexError, KeyError, TypeError, AttributeError,
                         RecursionError)  # fmt: skip


def damaged_pickle(reason: str) -> SourceError:
    """Return the error to raise for a damaged pickle."""
    return SourceError(f"damaged pickle: {reason}")


class _BoundedFile:
    """A file that never allocates more memory than the file has bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        position = file.tell()
        self._end = file.seek(0, os.SEEK_END)
        file.seek(position)
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        # Most reads are of one byte, and `tell` would take as long as such a read.
        if size >= _MIN_BOUNDED_READ:
            size = min(size, self._end - self._file.tell())
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline(_MAX_LINE_SIZE)


class PickleInterpreter:
    """Interpreter for one pickle.

    Args:
        allowed_globals: stand-ins for the globals that the pickle may refer to, by "module name".
        load_persistent: returns the object for a persistent id.

    """

    def __init__(
        self, allowed_globals: dict[str, Any], load_persistent: Callable[[Any], Any]
    ) -> None:
        self._globals = allowed_globals
        self._load_persistent = load_persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._items = 0
        self._memo: dict[int, Any] = {}

    def load(self, file: IO[bytes]) -> Any:
        """Return the pickled object, and leave the file positioned after the pickle.

        Raises:
            SourceError: the pickle is damaged, or refers to a global that is not allowed.

        """
        try:
            bounded: Any = _BoundedFile(file)
            for opcode, argument, _ in pickletools.genops(bounded):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._execute(opcode.name, argument)
        except _PICKLE_ERRORS as error:
            raise damaged_pickle(str(error)) from error
        raise damaged_pickle("it has no end")

    def _execute(self, name: str, argument: Any) -> None:
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
                raise SourceError(f"the pickle uses the opcode {name}, which no state dict needs")
            action(argument)

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
        item = self._stack.pop()
        self._top(list).append(item)

    def _appends(self, _: object) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    _additems = _appends

    def _setitem(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _setitems(self, _: object) -> None:
        self._set_items(self._pop_to_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[check_key(key)] = value

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise damaged_pickle(f"expected a {kind.__name__}")
        return self._stack[-1]

    def _pop(self, _: object) -> None:
        self._stack.pop()

    def _binstring(self, argument: str) -> None:
        """Push a string of Python 2; pickletools returns one character per byte."""
        self._stack.append(argument.encode("latin-1").decode("utf-8", "surrogateescape"))

    _short_binstring = _string = _binstring

    def _global(self, argument: str) -> None:
        self._push_global(argument)

    def _stack_global(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_global(f"{module} {name}")

    def _push_global(self, name: str) -> None:
        if name not in self._globals:
            shown = name[:_MAX_NAME_SHOWN].replace(" ", ".")
            raise SourceError(
                f"the pickle refers to {shown}, which no state dict needs; no code was run. "
                "Save the model's state dict instead: torch.save(model.state_dict(), path)"
            )
        self._stack.append(self._globals[name])

    def _reduce(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not callable(function) or type(arguments) is not tuple:
            raise damaged_pickle("it calls an object that is not a function")
        self._items += sum(len(item) for item in arguments[:1] if isinstance(item, list | tuple))
        if len(arguments) > _MAX_ARGUMENTS or self._items > _MAX_ITEMS:
            raise SourceError("the pickle needs more work than any state dict")
        self._stack.append(function(*arguments))

    def _build(self, _: object) -> None:
        # torch attaches metadata to a state dict: the versions of modules, no tensors.
        self._stack.pop()
        self._top(dict)

    def _binpersid(self, _: object) -> None:
        self._stack.append(self._load_persistent(self._stack.pop()))


def check_key(key: object) -> Any:
    """Return the key of a dict if it is a string or a number.

    Hashing nested tuples or long numbers could take forever.

    Raises:
        SourceError: the key is of another type, or too long a number.

    """
    if key is None or type(key) in (str, bytes, float, bool):
        return key
    if type(key) is int and key.bit_length() <= _MAX_KEY_BITS:
        return key
    kind = "long int" if type(key) is int else type(key).__name__
    raise SourceError(f"unsupported key type {kind} in a dict of the checkpoint")


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
