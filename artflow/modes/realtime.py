"""Webcam and other moving input: steps pipelined over frames, the latest frame wins."""

from artflow.engine.stream_policy import StreamPolicy
from artflow.modes.control_maps import control_pictures
from artflow.modes.live import LiveMode

REALTIME = LiveMode(
    name="realtime",
    title="Webcam",
    description="The picture follows the camera.",
    policy=StreamPolicy("realtime", pipelined=True, latest_only=True, maps=control_pictures),
    defaults={"prompt": "a watercolour painting", "steps": 2, "strength": 0.6, "priority": "latency"},
)
