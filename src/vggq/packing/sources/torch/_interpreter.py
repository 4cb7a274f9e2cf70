"""An interpreter of the pickle opcodes in checkpoints, which never runs code of the pickle.

The standard library's `pickletools.genops` parses the opcodes. A fixed table has stand-ins for the
globals that tensors need. Any other global is neither imported nor called: an object of such a
class becomes a `Placeholder`.
"""

from __future__ import annotations

import os
import pickletools
from typing import IO, TYPE_CHECKING, Any, Final

from ....errors import SourceError
from ._objects import (
    DeviceTensor,
    IteratingFunction,
    NamedConstant,
    Placeholder,
    Tensor,
    UnknownGlobal,
    UnsupportedTensor,
)
from ._stack import PickleStack, damaged_pickle

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_LINE_SIZE: Final = 1 << 16
_MAX_ARGUMENTS: Final = 16
# Limits the work of calls that iterate over an argument: a pickle can pass one list many times.
_MAX_ITEMS: Final = 1_000_000
_MIN_BOUNDED_READ: Final = 1 << 12

# The exception that damage causes in pickletools, or in a stand-in, depends on where the damage is.
_PICKLE_ERRORS: Final = (ValueError, IndexError, KeyError, TypeError, AttributeError,
                         RecursionError)  # fmt: skip


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


class PickleInterpreter(PickleStack):
    """Interpreter for one pickle.

    Args:
        known_globals: stand-ins for globals, by "module name".
        load_persistent: returns the object for a persistent id.

    """

    def __init__(
        self, known_globals: dict[str, Any], load_persistent: Callable[[Any], Any]
    ) -> None:
        super().__init__()
        self._globals = known_globals
        self._load_persistent = load_persistent
        self._items = 0
        self._memo: dict[int, Any] = {}
        self._actions = {
            opcode.name: getattr(self, f"_{opcode.name.lower()}", None)
            for opcode in pickletools.opcodes
        }

    def load(self, file: IO[bytes]) -> Any:
        """Return the pickled object, and leave the file positioned after the pickle.

        Raises:
            SourceError: the pickle is damaged, or needs too much work.

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
            action = self._actions[name]
            if action is None:
                raise SourceError(f"the pickle uses the opcode {name}, which no checkpoint needs")
            action(argument)

    def _global(self, argument: str) -> None:
        self._stack.append(self._find_global(argument))

    def _stack_global(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise damaged_pickle("the name of a global is not a string")
        self._stack.append(self._find_global(f"{module} {name}"))

    def _ext1(self, code: int) -> None:
        """Push a global by its number in a registry of Python, which is not looked up."""
        self._stack.append(UnknownGlobal(f"the copyreg extension {code}"))

    _ext2 = _ext4 = _ext1

    def _find_global(self, name: str) -> Any:
        return self._globals[name] if name in self._globals else UnknownGlobal(_dotted(name))

    def _reduce(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._call(function, arguments)

    # A stand-in for a class does not distinguish between `cls.__new__(cls, …)` and `cls(…)`.
    _newobj = _reduce

    def _newobj_ex(self, _: object) -> None:
        keywords, arguments = self._stack.pop(), self._stack.pop()
        self._call(self._stack.pop(), (arguments, keywords))

    def _obj(self, _: object) -> None:
        function, *arguments = self._pop_to_mark()
        self._call(function, tuple(arguments))

    def _inst(self, argument: str) -> None:
        arguments = tuple(self._pop_to_mark())
        self._call(self._find_global(argument), arguments)

    def _call(self, function: Any, arguments: Any) -> None:
        if type(arguments) is not tuple:
            raise damaged_pickle("the arguments of a call are not a tuple")
        if isinstance(function, UnknownGlobal | NamedConstant | Placeholder):
            self._stack.append(Placeholder(function, arguments))
            return
        if not callable(function):
            raise damaged_pickle("it calls an object that is not a function")
        if isinstance(function, IteratingFunction):
            self._items += sum(
                len(item) for item in arguments[:1] if isinstance(item, list | tuple)
            )
        if len(arguments) > _MAX_ARGUMENTS or self._items > _MAX_ITEMS:
            raise SourceError("the pickle needs more work than any state dict")
        self._stack.append(function(*arguments))

    def _build(self, _: object) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Placeholder):
            target.parts.append(state)
        elif not isinstance(target, _WITH_ATTRIBUTES):
            raise damaged_pickle(f"a {type(target).__name__} has no attributes")

    def _binpersid(self, _: object) -> None:
        self._stack.append(self._load_persistent(self._stack.pop()))


def _dotted(name: str) -> str:
    module, _, attribute = name.partition(" ")
    return f"{module}.{attribute}"


# The attributes that torch adds to these are not weights: the versions of a state dict's modules,
# and whether a tensor requires a gradient.
_WITH_ATTRIBUTES: Final = (dict, Tensor, UnsupportedTensor, DeviceTensor)
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
