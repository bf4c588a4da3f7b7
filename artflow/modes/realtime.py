"""Webcam and other moving input: steps pipelined over frames, the latest frame wins."""

from artflow.engine.flow import Flow
from artflow.modes.live import LiveMode

REALTIME = LiveMode(
    name="realtime",
    title="Webcam",
    description="The picture follows the camera.",
    flow=Flow("realtime", pipelined=True, latest_only=True),
    defaults={"prompt": "a watercolour painting", "steps": 2, "strength": 0.6, "priority": "latency"},
)
