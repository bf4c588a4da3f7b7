"""What only some rows of a call have: adapters of the weights, and pictures that steer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Control(NamedTuple):
    """A picture that steers a row, and how much.

    ``network`` is the id of a network that the model holds. ``hint`` is float32 of shape (3, height, width) in pixels,
    0 to 1, on the model's device. ``weight`` times what the network gives is added; where ``soft``, less of it the
    nearer a layer is to the picture. ``negative``: unconditional rows have it, too.
    """

    network: str
    hint: torch.Tensor
    weight: float
    soft: bool = False
    negative: bool = True


class Extras(NamedTuple):
    """Those of one row. ``loras`` are pairs of an adapter's name and its weight, each name once."""

    loras: tuple[tuple[str, float], ...] = ()
    controls: tuple[Control, ...] = ()

    def of_negative(self) -> Extras:
        """Those of the unconditional row that goes with this one."""
        if all(control.negative for control in self.controls):
            return self
        return self._replace(controls=tuple(control for control in self.controls if control.negative))

    def __bool__(self) -> bool:
        return bool(self.loras or self.controls)


NONE = Extras()
