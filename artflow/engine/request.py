"""The nouns of the engine: a `Row` is one evaluation of the denoiser, a `Request` is one picture on its way.

Live frames and the pictures of jobs are requests alike. What differs is who owns them (`session.py`, `job.py`) and the
arithmetic of their steps (`stream_step.py`, `sampling.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from artflow.models.extras import NONE, Extras

if TYPE_CHECKING:
    import torch

    from artflow.engine.runner import Runner
    from artflow.errors import ArtflowError
    from artflow.images import Picture

    Tensors = Mapping[str, torch.Tensor]


class Status(StrEnum):
    """Where a request is."""

    WAITING = "waiting"
    PREPARING = "preparing"
    RUNNING = "running"
    DECODING = "decoding"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluation of the denoiser.

    ``latent`` is float32 of shape (channels, height, width), ``timestep`` float32 without dimensions, both on the
    model's device. ``inputs`` are named tensors without a batch dimension, as the model's family wants them. Rows share
    a call whatever their ``extras`` are.
    """

    latent: torch.Tensor
    timestep: torch.Tensor
    inputs: Tensors
    extras: Extras = NONE


def compat_of(latent: Sequence[int], inputs: Tensors) -> Hashable:
    """What rows of one model must have in common to share a call: the shapes of the latent and of every input."""
    return tuple(latent), tuple(sorted((name, tuple(value.shape)) for name, value in inputs.items()))


class State(Protocol):
    """A picture between two of its steps."""

    batched: ClassVar[bool]
    """Whether `advance` leaves all states as they were when it raises, so that many can go through it at once."""

    def rows(self) -> list[Row]:
        """The row of the coming step, and the unconditional one after it where guidance needs it."""
        ...

    @staticmethod
    def advance(states: Sequence[Any], outputs: Sequence[torch.Tensor]) -> None:
        """Take a step of states of this kind: ``outputs[i]`` is the network's output for ``states[i].rows()``."""
        ...


class Plan(Protocol):
    """What the steps of a request need."""

    @property
    def compat(self) -> Hashable:
        """Which requests of the same model it can share calls with."""
        ...

    def row_count(self, step: int) -> int:
        """How many rows a step has: 2 where it asks for the unconditional one, too."""
        ...


P = TypeVar("P", bound=Plan)
S = TypeVar("S", bound=State)


@dataclass(eq=False)
class Request(Generic[P, S]):
    """One picture on its way. ``number`` is its frame or its place in the job; ``state`` is None until it has begun."""

    owner: Owner
    number: int
    runner: Runner
    plan: P
    status: Status = Status.WAITING
    state: S | None = None
    step: int = 0
    """Steps that have been taken."""

    @property
    def id(self) -> str:
        """For the log."""
        return f"{self.owner.id}/{self.number}"

    @property
    def row_count(self) -> int:
        """Rows of the coming step."""
        return self.plan.row_count(self.step)

    @property
    def row_cost(self) -> float:
        """Estimated seconds of one of its rows in a call by itself."""
        return self.runner.cost.seconds(self.plan.compat, 1)


class BaseOwner(Protocol):
    """Who has requests. All of it is called by the engine's threads alone."""

    id: str
    runner: Runner
    last_served: float
    """When a call with its requests began (monotonic seconds)."""
    in_call: bool
    """Whether a call with its requests is running."""
    wake: Callable[[], None]
    """Tells the engine that there is something to do; the engine sets it."""

    @property
    def waiting(self) -> int:
        """Frames or pictures that have not been begun."""
        ...

    @property
    def over(self) -> bool:
        """Whether nothing more will come from it."""
        ...

    def next(self, now: float) -> list[Request[Any, Any]]:
        """The requests that are ready for a step at ``now`` (monotonic seconds), begun ones and new ones."""
        ...

    def enter(self, request: Request[Any, Any], now: float) -> list[Picture] | None:
        """Begin a new request: the pictures that it starts from, to be encoded. None: it is no longer wanted."""
        ...

    @staticmethod
    def begin(requests: Sequence[Request[Any, Any]], latents: Sequence[torch.Tensor]) -> None:
        """Give new requests of any owners of this kind their state; ``latents[i]`` are those of the pictures that
        ``requests[i]`` starts from."""
        ...

    def stepped(self, requests: Sequence[Request[Any, Any]]) -> list[tuple[Request[Any, Any], torch.Tensor]]:
        """Note a step of these; returns which are to be decoded now, with the latent."""
        ...

    def deliver(self, request: Request[Any, Any], picture: Picture, flagged: bool) -> None:
        """Take a decoded picture; nobody may see it where it is flagged."""
        ...

    def fail(self, requests: Sequence[Request[Any, Any]], error: ArtflowError) -> None:
        """Give these requests up, and tell the person why."""
        ...

    def refuse(self, error: ArtflowError) -> None:
        """Give up what would have come `next`, which raised."""
        ...

    def end(self, error: ArtflowError) -> None:
        """Nobody will serve it any more."""
        ...


class LiveOwner(BaseOwner, Protocol):
    """Somebody who watches each picture come: a live session. It goes before those who wait in line."""

    kind: ClassVar[Literal["live"]]

    @property
    def due(self) -> float:
        """When it has something to do that no event announces (monotonic seconds); infinity: events announce all."""
        ...


class JobOwner(BaseOwner, Protocol):
    """Somebody who waits in line for pictures that are asked for once: a job."""

    kind: ClassVar[Literal["job"]]
    person: str
    """Who asks; each person has one place in the line, with however many jobs."""
    cancelled: bool
    """Set by any thread; it ends before its next step."""
    skipped_calls: int
    """Calls that went by without a row of it though it was its turn."""

    @property
    def running(self) -> bool:
        """Whether a picture has been begun and is not finished."""
        ...

    @property
    def waiting_since(self) -> float:
        """When its last picture was finished, or it came (monotonic seconds)."""
        ...


Owner = LiveOwner | JobOwner
