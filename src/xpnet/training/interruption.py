"""Ctrl-C and SIGTERM: the run ends after its block."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def interruption(*, terminate: bool) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (with `terminate`: or SIGTERM) into an event; a second acts at once."""
    asked = threading.Event()
    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    if terminate:
        usual[signal.SIGTERM] = signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread():
        usual = {}
    # Where somebody else has decided what a signal does, that is what it does.
    usual = {number: how for number, how in usual.items() if signal.getsignal(number) == how}

    def remember(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, usual[number])

    for number in usual:
        signal.signal(number, remember)
    try:
        yield asked
    finally:
        for number, how in usual.items():
            signal.signal(number, how)
