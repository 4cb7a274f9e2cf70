"""A remark about the objects of a checkpoint that are not packed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ._choice import show
from ._containers import CONTAINERS, Checkpoint, is_tensor, join_names, named_items
from ._numpy import is_array
from ._objects import Placeholder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._choice import Path

_MAX_SHOWN: Final = 8


@dataclass(slots=True)
class LeftOut:
    """The objects that are not packed, of which the first ones are named.

    Attributes:
        checkpoint: the checkpoint.
        with_tensors: descriptions of objects that hold tensors.
        others: descriptions of other objects.
        count: the number of all objects.

    """

    checkpoint: Checkpoint
    with_tensors: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, name: str, value: Any) -> None:
        """Add an object, unless there is nothing in it."""
        if value is None or (isinstance(value, (*CONTAINERS, str)) and not value):
            return
        self.count += 1
        holds_tensors = is_tensor(value) or self.checkpoint.holds_tensors(value)
        listed = self.with_tensors if holds_tensors else self.others
        if len(listed) < _MAX_SHOWN:
            listed.append(self._describe(name, value))

    def add_all_but(self, paths: Sequence[Path], container: Any, prefix: str = "") -> None:
        """Add everything in a container that is not at one of the paths."""
        if () in paths:
            return
        for name, value in named_items(container):
            inner = [path[1:] for path in paths if path[0] == name]
            if inner:
                self.add_all_but(inner, value, join_names(prefix, name))
            else:
                self.add(join_names(prefix, name), value)

    def _describe(self, name: str, value: Any) -> str:
        if is_tensor(value):
            detail = "a tensor"
        elif is_array(value):
            detail = "a numpy array"
        elif isinstance(value, Placeholder):
            detail = value.kind
        elif self.checkpoint.holds_tensors(value):
            detail = "with tensors"
        else:
            return show(name)
        return f"{show(name)} ({detail})"

    def remarks(self) -> tuple[str, ...]:
        """Return one remark, those with tensors first, or none if everything is packed."""
        if not self.count:
            return ()
        shown = [*self.with_tensors, *self.others][:_MAX_SHOWN]
        rest = self.count - len(shown)
        return (f"not packed: {', '.join(shown)}{f' and {rest} more' if rest else ''}",)
