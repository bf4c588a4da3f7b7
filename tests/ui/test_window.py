"""How many frames the transport keeps on the way: the real code against simulated servers, in simulated time."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser

from artflow.ui.components.live_view import read_parts

SIMULATION = """({work, distance, places, stepsAt, seconds}) => {
  let clock = 0, fresh = false, waiting = null, busy = false, mostInFlight = 0;
  const agenda = [], air = [], sent = new Map(), shown = [], drops = [];
  const at = (time, act) => agenda.push({time, act});
  performance.now = () => clock;

  const owner = {
    connectionChanged() {}, connected() {}, moved() {}, failed() {},
    answered: (info) => (info.dropped ? drops : shown).push({time: clock, latency: clock - sent.get(info.frame)}),
    placeFree: () => {
      if (!fresh || !(connection.wantsFrame() || connection.isStalled())) return;
      fresh = false;
      connection.send(new Uint8Array(1));
    },
  };
  const connection = new Connection("realtime", owner);
  connection.socket = {send: () => {
    const frame = connection.frame;
    sent.set(frame, clock);
    mostInFlight = Math.max(mostInFlight, connection.inFlight.size);
    at(clock + distance / 2, () => receive(frame));
  }};

  const answer = (frame, dropped) => at(clock + distance / 2, () => {
    connection.readAnswer({frame, dropped, skipped: false}, new Uint8Array(0));
    connection.read({status: "send_frame"});
  });
  const receive = (frame) => {
    if (waiting !== null) answer(waiting, true);
    waiting = frame;
    step();
  };
  const step = () => {
    if (busy || waiting === null) return;
    air.push(waiting);
    waiting = null;
    busy = true;
    at(clock + work, () => {
      busy = false;
      const steps = stepsAt.filter(([since]) => since * 1000 <= clock).at(-1)[1];
      while (air.length > steps) answer(air.shift(), true);
      if (air.length === steps) answer(air.shift(), false);
      step();
    });
  };

  connection.read({status: "connected", max_in_flight: places, width: 1, height: 1});
  for (let time = 0; time < 1000 * seconds; time += 1000 / 30) at(time, () => { fresh = true; owner.placeFree(); });
  while (agenda.length) {
    agenda.sort((a, b) => a.time - b.time);
    const {time, act} = agenda.shift();
    clock = time;
    act();
  }
  clearTimeout(connection.flushTimer);
  const end = 1000 * seconds, last = (list) => list.filter(({time}) => time > end / 2 && time <= end);
  const latencies = last(shown).map(({latency}) => latency).sort((a, b) => a - b);
  return {
    fps: last(shown).length / (seconds / 2), drops: last(drops).length / (seconds / 2),
    latency: latencies[latencies.length >> 1], mostInFlight,
  };
}"""


@pytest.fixture
def simulate(browser: Browser):
    """Runs the simulation; what it returns is about the second half of the time."""
    page = browser.new_page()

    def run(
        *,
        work: float,
        distance: float = 2,
        places: int = 4,
        steps: int | list[tuple[float, int]] = 1,
        seconds: float = 30,
    ) -> dict[str, float]:
        steps_at = [(0, steps)] if isinstance(steps, int) else steps
        server = {"work": work, "distance": distance, "places": places, "stepsAt": steps_at, "seconds": seconds}
        code = read_parts("shared/hub.js", "shared/transport.js")
        return page.evaluate(f"() => {{ {code}; return ({SIMULATION})({json.dumps(server)}) }}")

    yield run
    page.close()


def test_near_and_fast_server_has_one_frame_at_a_time(simulate) -> None:
    seen = simulate(work=5)
    assert seen["fps"] > 29 and seen["drops"] == 0 and seen["latency"] < 10
    assert seen["mostInFlight"] <= 1


def test_slow_server_is_busy_and_not_flooded(simulate) -> None:
    seen = simulate(work=150)
    assert seen["fps"] > 0.95 * 1000 / 150
    assert seen["drops"] < 1, "it gets 30 frames a second to choose from, and should not have to"
    assert seen["latency"] <= 2.2 * 150


def test_very_slow_server_is_not_flooded_either(simulate) -> None:
    seen = simulate(work=1500, seconds=120)
    assert seen["fps"] > 0.95 / 1.5 and seen["drops"] < 1


def test_far_server_is_kept_busy(simulate) -> None:
    seen = simulate(work=5, distance=120)
    assert seen["fps"] > 28 and seen["drops"] == 0
    assert seen["latency"] < 135


@pytest.mark.parametrize("steps", [2, 4, 8])
@pytest.mark.parametrize("work", [30, 150])
def test_pipelining_server_is_kept_busy(simulate, steps: int, work: float) -> None:
    """It answers the first of n frames when it has the n-th."""
    seen = simulate(work=work, steps=steps, places=4 + 7)
    assert seen["fps"] > 0.85 * min(30, 1000 / work)
    assert seen["drops"] < 2


def test_more_steps_in_the_middle_are_met_within_seconds(simulate) -> None:
    before = simulate(work=30, places=4 + 7, steps=8, seconds=20)
    seen = simulate(work=30, places=4 + 7, steps=[(0, 1), (5, 2), (8, 8)], seconds=20)
    assert seen["fps"] > 0.95 * before["fps"]


def test_never_more_on_the_way_than_places(simulate) -> None:
    seen = simulate(work=5, distance=2000, places=3)
    assert seen["mostInFlight"] == 3
