"""Undo and redo of a stack of filters; immutable, so each change returns a new history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from artflow.errors import ArtflowError
from artflow.modes.filters.stack import MAX_LAYERS, Layer, Stack, new_layer

MAX_UNDO = 100


@dataclass(frozen=True)
class StackHistory:
    """The present stack with those before and after it. Moving one slider is one step, however long it moves."""

    stack: Stack = ()
    past: tuple[Stack, ...] = ()
    future: tuple[Stack, ...] = ()
    touched: tuple[int, str] | None = None  # the control changed last

    def to(self, stack: Stack) -> StackHistory:
        """Another stack, which can be undone.

        Raises:
            ArtflowError: ``bad_stack`` if it has too many layers.
        """
        if len(stack) > MAX_LAYERS:
            raise ArtflowError("bad_stack", f"A stack has at most {MAX_LAYERS} filters.")
        return self if stack == self.stack else StackHistory(stack, (*self.past, self.stack)[-MAX_UNDO:])

    def add(self, name: str) -> StackHistory:
        """One more filter, at the end."""
        return self.to((*self.stack, new_layer(name)))

    def remove(self, index: int) -> StackHistory:
        """Without one filter."""
        return self.to(self.stack[:index] + self.stack[index + 1 :])

    def move(self, index: int, by: int) -> StackHistory:
        """One filter earlier (-1) or later (1); at the ends nothing happens."""
        other = index + by
        if not (0 <= index < len(self.stack) and 0 <= other < len(self.stack)):
            return self
        layers = list(self.stack)
        layers[index], layers[other] = layers[other], layers[index]
        return self.to(tuple(layers))

    def switch(self, index: int, on: bool) -> StackHistory:
        """One filter on or off."""
        return self._with(index, on=on)

    def change(self, index: int, changes: Mapping[str, Any]) -> StackHistory:
        """Changed parameters of one filter; repeated changes of the same parameters are one step.

        Raises:
            ArtflowError: ``bad_parameter``.
        """
        if not 0 <= index < len(self.stack):
            return self
        layer = self.stack[index]
        new = self._with(index, parameters=new_layer(layer.filter, {**layer.parameters, **changes}).parameters)
        touched = (index, ",".join(changes))
        same_step = self.touched == touched and bool(self.past)
        return replace(new, past=self.past if same_step else new.past, touched=touched)

    def undo(self) -> StackHistory:
        """The previous stack, or this one if there is none."""
        if not self.past:
            return self
        return StackHistory(self.past[-1], self.past[:-1], (self.stack, *self.future))

    def redo(self) -> StackHistory:
        """The stack that was undone last, or this one if there is none."""
        if not self.future:
            return self
        return StackHistory(self.future[0], (*self.past, self.stack), self.future[1:])

    def _with(self, index: int, **changes: Any) -> StackHistory:
        if not 0 <= index < len(self.stack):
            return self
        layer: Layer = replace(self.stack[index], **changes)
        return self.to((*self.stack[:index], layer, *self.stack[index + 1 :]))
