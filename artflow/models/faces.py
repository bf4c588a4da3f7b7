"""YuNet, the embedded face detector: where the faces of a picture are. It recognises nobody.

76 thousand weights, run by OpenCV; `artflow/models/yunet/README.md` says where they come from.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import cv2
import numpy as np
from cv2.utils import logging

from artflow.images import Picture

WEIGHTS = Path(__file__).parent / "yunet" / "face_detection_yunet_2023mar.onnx"
LONGEST = 320  # pixels a side of the copy that is looked at: it was made for faces of 10 to 300 pixels
SURE = 0.8  # score of a face; the least that `find_faces` returns
SMALLEST = 0.06  # height of a face in the picture's height or width, whichever is less

_one_at_a_time = Lock()  # a detector keeps the size of its picture


class Face(NamedTuple):
    """A face's box, in parts of the picture's width and height, from 0 to 1."""

    left: float
    top: float
    width: float
    height: float


def find_faces(picture: Picture) -> list[Face]:
    """The faces of a picture of any size, the largest first. Computes on the CPU, in a few milliseconds."""
    height, width = picture.shape[:2]
    factor = LONGEST / max(height, width)
    size = [max(1, round(side * factor)) for side in (width, height)]
    small = cv2.resize(np.ascontiguousarray(picture[..., ::-1]), size, interpolation=cv2.INTER_AREA)
    with _one_at_a_time:
        detector = _detector()
        detector.setInputSize(size)
        _, rows = detector.detect(small)
    boxes = [] if rows is None else rows[:, :4] / np.tile(size, 2)
    faces = [_inside(*map(float, box)) for box in boxes]
    least = SMALLEST * min(width, height) / height
    return sorted((face for face in faces if face.height >= least), key=lambda face: -face.width * face.height)


@lru_cache(maxsize=1)
def _detector() -> cv2.FaceDetectorYN:
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns at every new detector: there are no targets to choose
    try:
        return cv2.FaceDetectorYN.create(str(WEIGHTS), "", (LONGEST, LONGEST), SURE)
    finally:
        logging.setLogLevel(level)


def _inside(left: float, top: float, width: float, height: float) -> Face:
    right, bottom = min(1.0, left + width), min(1.0, top + height)
    left, top = max(0.0, left), max(0.0, top)
    return Face(left, top, right - left, bottom - top)
