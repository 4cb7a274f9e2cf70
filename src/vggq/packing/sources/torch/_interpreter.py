"""An interpreter of the pickle opcodes in checkpoints, which never runs code of the pickle.

The standard library's `pickletools.genops` parses the opcodes. A fixed table has stand-ins for the
globals that tensors need. Any other global is neither imported nor called: an object of such a
class becomes a `Placeholder`.
"""

from __future__ import annotations

import os
import pickletools
from functools import partial
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
# Begins a message of pickletools.
_NO_POSITION: Final = "at position <unknown>, "

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

    def read(self, size: int) -> bytes:
        # Most reads are of one byte, and `tell` would take longer. Without an attribute `tell`,
        # pickletools does not ask for the position of each opcode.
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

    def _find_action(self, name: str) -> Callable[[Any], Any]:
        """Return the method for an opcode, which takes its argument."""
        if name in _VALUES:
            return self._push
        if name in _CONSTANTS:
            return partial(self._push_new, _CONSTANTS[name])
        found: Callable[[Any], Any] | None = getattr(self, f"_{name.lower()}", None)
        return partial(self._reject_opcode, name) if found is None else found

    def load(self, file: IO[bytes]) -> Any:
        """Return the pickled object, and leave the file positioned after the pickle.

        Raises:
            SourceError: the pickle is damaged, or needs too much work.

        """
        # Methods in an attribute would keep the interpreter alive.
        actions = {opcode.name: self._find_action(opcode.name) for opcode in pickletools.opcodes}
        try:
            bounded: Any = _BoundedFile(file)
            for opcode, argument, _ in pickletools.genops(bounded):
                if opcode.name == "STOP":
                    return self._stack.pop()
                actions[opcode.name](argument)
        except _PICKLE_ERRORS as error:
            raise damaged_pickle(str(error).removeprefix(_NO_POSITION)) from error
        raise damaged_pickle("it has no end")

    def _reject_opcode(self, name: str, _: object) -> None:
        raise SourceError(f"the pickle uses the opcode {name}, which no checkpoint needs")

    def _push(self, argument: Any) -> None:
        self._stack.append(argument)

    def _push_new(self, make: Callable[[], Any], _: object) -> None:
        self._stack.append(make())

    def _proto(self, _: object) -> None:
        pass

    _frame = _proto

    def _binput(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _long_binput = _put = _binput

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _binget(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _long_binget = _get = _binget

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
        if isinstance(function, _NOT_CALLED):
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


# Objects of these are placeholders. (A tuple is compared faster than a union of types.)
_NOT_CALLED: Final = (UnknownGlobal, NamedConstant, Placeholder)
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
