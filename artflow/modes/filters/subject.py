"""The filter that leaves the subject alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artflow.images import Picture
from artflow.modes.filters.registry import filter_entry
from artflow.modes.subject import SIDE, cut_out, subject_alpha

GROUP = "Subject"


@filter_entry("Remove background", GROUP, slow=True, least=SIDE, cuts=True)
def remove_background(picture: Picture) -> NDArray[np.uint8]:
    """See-through but for its subject, with soft edges."""
    return cut_out(picture, subject_alpha(picture))
