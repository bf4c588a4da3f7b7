"""What pictures are asked to show, encoded by the model's `prepare` off the live path, and cached; and blends of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import torch

from artflow.engine.threads import with_threads
from artflow.engine.transfer import stream
from artflow.models.model import Condition, Model

CACHED = 256  # conditions
AT_ONCE = 16  # conditions that are encoded in one call

Tensors = Mapping[str, torch.Tensor]


def blend(a: Tensors, b: Tensors, amount: float) -> dict[str, torch.Tensor]:
    """The linear blend of two prepared conditions of one model; ``amount`` 0 is the first, 1 the second."""
    return {name: torch.lerp(value, b[name], amount) for name, value in a.items()}


def slerp(a: torch.Tensor, b: torch.Tensor, amount: float) -> torch.Tensor:
    """Spherical blend of two noises of one shape: it keeps the norm that the model expects of noise."""
    cosine = torch.clamp(torch.sum(a * b) / (a.norm() * b.norm()), -1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-4:
        return torch.lerp(a, b, amount)
    return (torch.sin((1 - amount) * angle) * a + torch.sin(amount * angle) * b) / torch.sin(angle)


class ConditionEncoder:
    """Prepares conditions in a thread of its own, those that wait together in one call; the most recent are kept.

    ``translate`` puts a prompt into the words that the model was taught. Safe from any thread.
    """

    def __init__(self, model: Model, translate: Callable[[str], str] = str) -> None:
        self._model = model
        self._translate = translate
        self._lock = Lock()
        self._done: OrderedDict[Condition, Tensors | Exception] = OrderedDict()
        self._waiting: dict[Condition, set[Callable[[], None]]] = {}
        self._thread: ThreadPoolExecutor | None = None

    def get(self, conditions: Iterable[Condition], wake: Callable[[], None]) -> list[Tensors] | None:
        """All of these prepared; or None, and ``wake`` is called when there is one more. Never blocks.

        Raises:
            Exception: what preparing one of them raised; asking for it again tries again.
        """
        # What is kept goes by the words that are used, as more styles may have been learned since.
        wanted = [
            self._model.essential(condition._replace(prompt=self._translate(condition.prompt)))
            for condition in conditions
        ]
        with self._lock:
            if missing := [condition for condition in wanted if condition not in self._done]:
                new = not self._waiting.keys() >= set(missing)
                for condition in missing:
                    self._waiting.setdefault(condition, set()).add(wake)
                if self._thread is None:
                    self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompts")
                if new:
                    self._thread.submit(self._encode_waiting)
                return None
            found = []
            for condition in wanted:
                self._done.move_to_end(condition)
                if isinstance(result := self._done[condition], Exception):
                    del self._done[condition]
                    raise result
                found.append(result)
            return found

    def encode(self, prompt: str, *, negative: bool = False) -> Tensors:
        """One prompt prepared; waits for it. Not for the engine's threads.

        Raises:
            Exception: what preparing it raised.
        """
        ready = Event()
        while (found := self.get([Condition(prompt, negative)], ready.set)) is None:
            ready.wait()
        return found[0]

    def _encode_waiting(self) -> None:
        with self._lock:
            batch = list(self._waiting)[:AT_ONCE]
        if not batch:
            return
        try:
            results: list[Tensors | Exception] = list(self._prepared(batch))
        except Exception:  # noqa: BLE001 - one of them is wrong: each by itself, so that it is told to who asked for it
            results = [self._alone(condition) for condition in batch]
        with self._lock:
            wakes = set()
            for condition, result in zip(batch, results, strict=True):
                # What was prepared may say more of it: what it is kept under is asked again. Where what it needs is
                # gone already, nothing is kept: `get` asks again.
                kept = condition if isinstance(result, Exception) else self._model.essential(condition)
                if isinstance(result, Exception) or "unread" not in dict(kept.more):
                    self._done[kept] = result
                wakes |= self._waiting.pop(condition)
            while len(self._done) > CACHED:
                self._done.popitem(last=False)
            if self._waiting and self._thread is not None:
                self._thread.submit(self._encode_waiting)
        for wake in wakes:
            wake()

    def _prepared(self, conditions: list[Condition]) -> list[Tensors]:
        with stream(self._model.device):  # whose end is waited for: the engine reads them on streams of its own
            return list(with_threads(1, lambda: self._model.prepare(conditions)))

    def _alone(self, condition: Condition) -> Tensors | Exception:
        try:
            return self._prepared([condition])[0]
        except Exception as error:  # noqa: BLE001 - `get` raises it where it belongs
            return error.with_traceback(None)
