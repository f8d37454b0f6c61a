"""An observer that keeps every tick's record."""

from __future__ import annotations

from ...runtime.tick.record import TickRecord


class Kept:
    def __init__(self) -> None:
        self.records: list[TickRecord] = []

    def observe(self, record: TickRecord) -> None:
        self.records.append(record)
