"""What streaming layers remember, as a tree of dataclasses.

A state belongs to a batch of streams that advance in step; every tensor in it has the
batch first. Layers write into the state that they are given and keep nothing themselves.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["State"]


@dataclass
class State:
    """A node of the tree: fields are tensors, numbers, states or lists of states."""

    def reset(self, streams: list[int] | None = None) -> None:
        """Make all streams, or the listed ones, forget their past."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                if streams is None:
                    value.zero_()
                else:
                    value[streams] = 0
            for part in _parts(value):
                part.reset(streams)

    def copy(self) -> Self:
        """An independent copy: a snapshot."""
        return dataclasses.replace(
            self,
            **{
                field.name: _copied(getattr(self, field.name)) for field in dataclasses.fields(self)
            },
        )

    def restore(self, snapshot: Self) -> None:
        """Take the content of a copy, in place.

        Raises:
            ValueError: the copy is of another model or number of streams.
        """
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(snapshot, field.name)
            if isinstance(mine, Tensor):
                if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
                    raise ValueError("a snapshot of another codec or number of streams")
                mine.copy_(theirs)
            elif isinstance(mine, State | list):
                for part, copy in zip(_parts(mine), _parts(theirs), strict=True):
                    part.restore(copy)
            else:
                setattr(self, field.name, theirs)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        total = 0
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                total += value.numel() * value.element_size()
            total += sum(part.nbytes for part in _parts(value))
        return total


def _parts(value: Any) -> list[State]:
    if isinstance(value, State):
        return [value]
    return list(value) if isinstance(value, list) else []


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.clone(value)
    if isinstance(value, State):
        return value.copy()
    return [part.copy() for part in value] if isinstance(value, list) else value
