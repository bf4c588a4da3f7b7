"""The thread policy: what it chooses for given seconds, and that torch computes with that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch

from artflow.engine.runner import Runner
from artflow.engine.threads import LONGEST_PATIENCE, CallKind, ThreadPolicy, with_threads
from artflow.images import Size
from artflow.machine import cores
from tests.support.live import plain

MOST = 4


def run(kind: CallKind, seconds: Callable[[int], float], calls: int) -> list[int]:
    """Calls that take ``seconds(threads)``; the threads of each."""
    used = []
    for _ in range(calls):
        used.append(kind.choose())
        kind.observe(seconds(used[-1]))
    return used


def taking(one: float, most: float) -> Callable[[int], float]:
    """Seconds of a call with one thread, and with all."""
    return lambda threads: one if threads == 1 else most


def test_all_cores_are_used_where_they_are_clearly_faster() -> None:
    kind = CallKind(MOST)
    run(kind, taking(0.02, 0.01), 100)
    assert kind.usual == MOST


@pytest.mark.parametrize("most", [0.017, 0.02, 0.3])
def test_one_thread_is_the_rule(most: float) -> None:
    kind = CallKind(MOST)
    run(kind, taking(0.02, most), 10_000)
    assert kind.usual == 1


def test_a_long_call_is_settled_after_one_with_all_cores() -> None:
    assert run(CallKind(MOST), taking(2.0, 1.1), 6) == [1, 1, MOST, MOST, MOST, MOST]


def test_a_trial_that_goes_badly_ends_with_its_second_call() -> None:
    used = run(CallKind(MOST), taking(0.02, 0.06), 60)
    assert used.count(MOST) == 2


def test_trials_that_change_nothing_become_rare() -> None:
    kind = CallKind(MOST)
    run(kind, taking(0.02, 0.06), 20_000)
    rarest = run(kind, taking(0.02, 0.06), round(10 * LONGEST_PATIENCE / 0.02)).count(MOST)
    assert 0 < rarest <= 2 * 10


def test_a_call_that_is_kept_off_a_core_is_the_last_with_several_threads() -> None:
    kind = CallKind(MOST)
    run(kind, taking(0.02, 0.01), 100)
    assert kind.choose() == MOST
    kind.observe(0.5)
    assert kind.choose() == 1


def test_all_cores_are_used_again_when_the_other_program_has_ended() -> None:
    kind = CallKind(MOST)
    run(kind, taking(0.02, 0.01), 100)
    run(kind, taking(0.02, 0.5), 1000)
    assert kind.usual == 1
    run(kind, taking(0.02, 0.01), 10_000)
    assert kind.usual == MOST


def test_all_cores_are_given_back_when_they_are_no_longer_faster() -> None:
    kind = CallKind(MOST)
    run(kind, taking(0.02, 0.01), 100)
    run(kind, taking(0.02, 0.025), 1000)  # not so slow that a single call would tell
    assert kind.usual == 1


def test_the_first_call_says_nothing_about_those_that_follow() -> None:
    kind = CallKind(MOST)
    kind.observe(3.0)  # weights are packed
    assert MOST not in run(kind, taking(0.02, 0.019), 20)


def test_starved_is_who_takes_far_longer_than_ever_before() -> None:
    kind = CallKind(1)
    run(kind, taking(0.02, 0.02), 10)
    assert not kind.starved
    run(kind, taking(0.2, 0.2), 10)
    assert kind.starved
    run(kind, taking(0.02, 0.02), 10)
    assert not kind.starved


def test_with_one_core_there_is_nothing_to_try() -> None:
    assert set(run(CallKind(1), taking(0.02, 0.01), 1000)) == {1}


def test_torch_computes_with_the_choice_and_everything_else_with_one_thread() -> None:
    policy = ThreadPolicy(MOST)
    run(policy.kind("predict", 16), taking(0.02, 0.01), 100)
    with policy.call("predict", 16):
        assert torch.get_num_threads() == MOST
    assert torch.get_num_threads() == 1
    with policy.call("predict", 1024):
        assert torch.get_num_threads() == 1


def test_what_raises_is_not_measured() -> None:
    policy = ThreadPolicy(MOST)
    run(policy.kind("decode", 16), taking(0.02, 0.01), 100)
    with pytest.raises(MemoryError), policy.call("decode", 16):
        raise MemoryError  # at once: as a measurement it would be the best ever, and all that follow starved
    assert torch.get_num_threads() == 1
    assert run(policy.kind("decode", 16), taking(0.02, 0.01), 10) == [MOST] * 10


def test_calls_of_other_networks_and_sizes_are_judged_by_themselves() -> None:
    policy = ThreadPolicy(MOST)
    for network, pixels in (("encode", 128 * 128), ("predict", 128 * 128)):
        run(policy.kind(network, pixels), taking(0.02, 0.03), 100)
    run(policy.kind("predict", 5 * 128 * 128), taking(0.02, 0.01), 100)
    assert policy.choices == {"encode": {2**14: 1}, "predict": {2**14: 1, 2**17: MOST}}


def test_the_runner_measures_its_networks_by_the_pixels_of_a_call(runner: Runner) -> None:
    latents = runner.encode([plain(9, 9, 9, side=128)] * 2)
    runner.decode(latents)
    for network in ("encode", "decode"):
        assert 2 * 128 * 128 in runner.threads.choices[network]
    assert runner.model.latent_shape(Size(128, 128)) == tuple(latents.shape[1:])


def test_work_beside_has_its_threads_and_leaves_one_to_who_comes_next() -> None:
    seen: list[int] = []

    def beside() -> None:
        seen.append(with_threads(MOST, torch.get_num_threads))

    for work in (beside, lambda: seen.append(torch.get_num_threads())):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [MOST, 1]


def test_a_process_may_not_use_more_cores_than_it_was_given() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("given", "used"), [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_threads_sleep_soon_while_they_wait_for_each_other(given: dict[str, str], used: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | given
    code = "import artflow, os, sys; print(os.environ['GOMP_SPINCOUNT'], {'torch', 'gradio'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
    assert said.split() == [used, "set()"]
