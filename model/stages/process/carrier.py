"""A thread that waits for messages in the front's place, and can be left behind.

gloo was seen to wait for ever in a send that began while its peer died, after every process of the group had ended, and
nothing can call it back. A caller that must not wait for ever lets this thread do the waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from .link import LinkError

LOOK_S = 0.05
GRACE_S = 0.5
"""After the end of the group: as a rule the wait then ends by itself, and says more of why."""


@dataclass
class Job:
    work: Callable[[], Any]
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: LinkError | None = None


class Carrier:
    """`carry`, or `start` and `wait`, from one thread at a time; `close` once. Jobs are done in order."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="stage-carrier", daemon=True)
        self._thread.start()

    def carry(self, work: Callable[[], Any], gone: Callable[[], bool]) -> Any:
        """What the work gives. Raises LinkError: the work's own, or when `gone` and the work does not end."""
        return self.wait(self.start(work), gone)

    def start(self, work: Callable[[], Any]) -> Job:
        """Not waited for; `done` says when it is over."""
        job = Job(work)
        self._jobs.put(job)
        return job

    def wait(self, job: Job, gone: Callable[[], bool]) -> Any:
        while not job.done.wait(LOOK_S):
            if gone() and not job.done.wait(GRACE_S):
                raise LinkError("the group has ended, and a message to it was still under way")
        if job.error is not None:
            raise job.error
        return job.result

    def close(self) -> None:
        """End the thread and its hold on the link. If it waits for ever it is left, and ends with the process."""
        self._jobs.put(None)
        self._thread.join(GRACE_S)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.result = job.work()
            except LinkError as error:
                job.error = error
            job.done.set()
            del job  # it may hold the last reference to a group, whose end must not happen while Python ends
