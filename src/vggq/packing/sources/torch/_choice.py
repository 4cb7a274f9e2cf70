"""Choose the state dict of a checkpoint: the one at a key, or the only candidate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from ._containers import CONTAINERS, SEPARATOR, Checkpoint, join_names, named_items
from ._objects import Placeholder, kind_of, with_article

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

ROOT_KEY: Final = "."
# Keys under which training scripts usually keep the state dict.
_USUAL_KEYS: Final[tuple[str, ...]] = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
)
# `Module.get_extra_state` may return anything; torch stores it under a key with this suffix.
_EXTRA_STATE_SUFFIX: Final = "_extra_state"
_MAX_NAMES: Final = 6
_MAX_NAMES_IN_EXAMPLE: Final = 3
_MAX_NAME_SHOWN: Final = 60
_STATE_DICT_ADVICE: Final = (
    "save the model's state dict instead: torch.save(model.state_dict(), path)"
)
_PLAIN_DICT_ADVICE: Final = "save its items as a plain dict instead: dict(state_dict)"

Path = tuple[str, ...]
"""The names that lead from the root to a container."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A container of tensors.

    Attributes:
        path: its place in the checkpoint.
        container: the container.
        prefix: first part of the names of its tensors; may be empty.
        key: its key if it was chosen among others; None if the caller gave the key.

    """

    path: Path
    container: Any
    prefix: str = ""
    key: str | None = None


def choose(checkpoint: Checkpoint, key: str | Sequence[str] | None) -> list[Chosen]:
    """Return the containers with the tensors to pack.

    Args:
        checkpoint: the checkpoint.
        key: keys of nested containers, joined by dots, or "." for the root; several of these, which
            become prefixes; or None to look for the state dict.

    Raises:
        SourceError: there is no container with tensors at a key; or no key, and no state dict or
            several.

    """
    if key is None or not isinstance(checkpoint.root, CONTAINERS):
        return [_find_state_dict(checkpoint)]
    if isinstance(key, str):
        return [_at_key(checkpoint, key)]
    return [_at_key(checkpoint, one, prefix=one) for one in key]


def _at_key(checkpoint: Checkpoint, key: str, prefix: str = "") -> Chosen:
    path = () if key == ROOT_KEY else _find_path(checkpoint.root, key)
    if path is None:
        raise _no_tensors_at(f"nothing in the checkpoint has the key {show(key)}", checkpoint)
    value = _value_at(checkpoint.root, path)
    if isinstance(value, Placeholder):
        reason = f"the key {show(key)} is that of an object of {value.kind}, which is not read"
        raise SourceError(f"{reason}; {_advice(value)}")
    if not isinstance(value, CONTAINERS):
        reason = f"the key {show(key)} is that of {with_article(kind_of(value))}, not of a dict"
        raise _no_tensors_at(reason, checkpoint)
    if id(value) not in checkpoint.data_holders:
        reason = f"the key {show(key)} is that of {with_article(kind_of(value))} without tensors"
        raise _no_tensors_at(reason, checkpoint)
    return Chosen(path, value, prefix)


def _no_tensors_at(reason: str, checkpoint: Checkpoint) -> SourceError:
    """Return an error that says where the tensors are."""
    root = checkpoint.root
    unread = None
    if isinstance(root, dict):
        found = sorted(_find_candidates(checkpoint))
        unread = _find_unread_object(checkpoint)
    elif isinstance(root, CONTAINERS):
        found = [name for name, value in named_items(root) if checkpoint.holds_tensors(value)]
    else:
        found = []
    nothing = unread or "no dict contains tensors"
    places = f"tensors are under {show_all(found)}" if found else nothing
    return SourceError(f"{reason}; {places}")


def _find_path(container: Any, key: str) -> Path | None:
    """Return the names that lead to a key; a name may contain dots itself."""
    if not isinstance(container, CONTAINERS):
        return None
    names = {name for name, _ in named_items(container)}
    if key in names:
        return (key,)
    for at in (at for at, char in enumerate(key) if char == SEPARATOR):
        if key[:at] in names:
            inner = _find_path(_value_at(container, (key[:at],)), key[at + 1 :])
            if inner is not None:
                return (key[:at], *inner)
    return None


def _value_at(value: Any, path: Path) -> Any:
    for name in path:
        value = next(inner for key, inner in named_items(value) if key == name)
    return value


def _find_state_dict(checkpoint: Checkpoint) -> Chosen:
    """Return the only dict with tensors, or the one that training scripts usually write."""
    root = checkpoint.root
    if not isinstance(root, dict):
        raise SourceError(_describe_root(checkpoint))
    found = _find_candidates(checkpoint)
    usual = [name for name in _USUAL_KEYS if name in found]
    unread = _find_unread_object(checkpoint)
    if unread and not usual and ROOT_KEY not in found:
        raise SourceError(f"{unread}, or {_suggest(found)}" if found else unread)
    names = usual or list(found)
    if not names:
        raise SourceError("none of its dicts contains tensors")
    if len(names) > 1:
        raise SourceError(f"several dicts contain tensors; {_suggest(found)}")
    path = found[names[0]]
    is_only_choice = not path and len(found) == 1
    return Chosen(path, _value_at(root, path), key=None if is_only_choice else names[0])


def _find_candidates(checkpoint: Checkpoint) -> dict[str, Path]:
    """Return the places of the dicts that may be the state dict, by key.

    These are the dicts that have tensors themselves: the root and those in it, else those one level
    below. Without any such dict, they are the dicts in the root from which tensors can be reached,
    and the root if it has lists of tensors.
    """
    root = checkpoint.root
    inner = _inner_dicts(root)
    found: dict[str, Path] = {
        name: (name,) for name, value in inner.items() if checkpoint.has_tensors(value)
    }
    if checkpoint.has_tensors(root):
        return found | {ROOT_KEY: ()}
    if found := found or _find_inner_candidates(checkpoint, inner):
        return found
    found = {name: (name,) for name, value in inner.items() if checkpoint.holds_tensors(value)}
    lists = [value for value in root.values() if isinstance(value, list | tuple)]
    return found | ({ROOT_KEY: ()} if any(map(checkpoint.holds_tensors, lists)) else {})


def _find_inner_candidates(
    checkpoint: Checkpoint, inner: dict[str, dict[Any, Any]]
) -> dict[str, Path]:
    """Return the dicts with tensors in these dicts; a dict with several names is looked at once."""
    middles = {id(middle): (outer, middle) for outer, middle in reversed(inner.items())}
    return {
        join_names(outer, name): (outer, name)
        for outer, middle in reversed(middles.values())
        for name, value in _inner_dicts(middle).items()
        if checkpoint.has_tensors(value)
    }


def _inner_dicts(outer: dict[Any, Any]) -> dict[str, dict[Any, Any]]:
    """Return the dicts in a dict, without the extra state of modules."""
    return {
        name: value
        for name, value in named_items(outer)
        if isinstance(value, dict) and not name.endswith(_EXTRA_STATE_SUFFIX)
    }


def _find_unread_object(checkpoint: Checkpoint) -> str | None:
    """Return a message about an object in the root that holds tensors, such as a whole model."""
    for name, value in named_items(checkpoint.root):
        if isinstance(value, Placeholder) and checkpoint.holds_tensors(value):
            return (
                f"the key {show(name)} is that of an object of {value.kind}, whose tensors are not "
                f"read: no code was run; {_advice(value)}"
            )
    return None


def _describe_root(checkpoint: Checkpoint) -> str:
    root = checkpoint.root
    if isinstance(root, Placeholder):
        problem = f"contains an object of {root.kind}, not a state dict"
        return f"{problem}: no code was run; {_advice(root)}"
    problem = f"contains {with_article(kind_of(root))}, not a state dict"
    if isinstance(root, CONTAINERS) and checkpoint.holds_tensors(root):
        return f"{problem}; set `key` to the index of an item, or to '{ROOT_KEY}' for all of them"
    return problem


def _advice(value: Placeholder) -> str:
    """Return what to save instead of an object of an unknown class."""
    return _PLAIN_DICT_ADVICE if value.has_keys else _STATE_DICT_ADVICE


def _suggest(found: Collection[str]) -> str:
    """Return the keys that can be set."""
    inner = sorted(name for name in found if name != ROOT_KEY)
    advice = f"set `key` to {'one of ' if len(found) > 1 else ''}{show_all(sorted(found))}"
    if ROOT_KEY in found:
        advice += f" ('{ROOT_KEY}' is the whole checkpoint)"
    if len(inner) > 1:
        example = ", ".join(show(name) for name in inner[:_MAX_NAMES_IN_EXAMPLE])
        advice += f", or to a list such as [{example}] to pack several, with their keys as prefixes"
    return advice


def show(name: str) -> str:
    """Return a name in quotation marks; the end of a long name is left out."""
    return repr(name if len(name) <= _MAX_NAME_SHOWN else f"{name[:_MAX_NAME_SHOWN]}…")


def show_all(names: Collection[str], limit: int = _MAX_NAMES) -> str:
    """Return names in quotation marks, and the number of those that are left out."""
    shown = ", ".join(map(show, islice(names, limit)))
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
