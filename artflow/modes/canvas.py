"""The canvas mode: every stroke is answered, in order, with all its steps."""

from artflow.engine.stream_policy import StreamPolicy
from artflow.modes.control_maps import control_pictures
from artflow.modes.live import LiveMode

CANVAS = LiveMode(
    name="canvas",
    title="Canvas",
    description="The picture follows every stroke.",
    policy=StreamPolicy("canvas", pipelined=False, latest_only=False, maps=control_pictures),
    defaults={"prompt": "a house by a lake", "steps": 2, "strength": 0.75, "priority": "quality"},
)
