"""The lock under which weights are loaded: one thread at a time, with the libraries' progress bars off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_alone = threading.RLock()


@contextmanager
def weight_loading_lock() -> Iterator[None]:
    """Hold this while modules are built and their weights read; not during downloads, which take long.

    The libraries change global state meanwhile: accelerate's ``init_empty_weights`` replaces
    ``nn.Module.register_parameter``, so modules built by other threads would get no weights, and two at once leave it
    replaced for good. Progress bars and log levels are global as well.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    with _alone:
        verbosity = diffusers_logging.get_verbosity()
        bars = transformers_logging.is_progress_bar_enabled()
        diffusers_bars = diffusers_logging.is_progress_bar_enabled()
        diffusers_logging.set_verbosity_error()
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            diffusers_logging.set_verbosity(verbosity)
            if diffusers_bars:
                diffusers_logging.enable_progress_bar()
            if bars:
                transformers_logging.enable_progress_bar()
