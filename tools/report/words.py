"""Plain words for what the report names by key: causes of misses, stages of a tick, phases of start-up."""

from __future__ import annotations

CAUSES = {
    "condition": "Preparing the input for the network took longer than usual.",
    "denoise": "The network's denoise steps took longer than usual.",
    "decode": "Turning the network's result into pixels took longer than usual.",
    "present": "Handing the frame to the screen took longer than usual.",
    "queue": "The tick started late, because the one before was still busy.",
    "late_start": "The tick started late, because the one before was still busy.",
    "gc": "Python's garbage collector ran in the middle of the tick.",
    "allocation": "Memory had to be fetched from the system in the middle of the tick.",
    "clock_gap": "The machine stood still: suspended, or stopped by a debugger.",
    "external": "The tick waited for a processor core that something else used.",
    "unknown": "Nothing that was measured stands out.",
}
STAGES = {
    "condition": "input prepared for the network",
    "denoise": "the network draws the next frame, step by step",
    "decode": "the result becomes pixels",
    "present": "the frame is handed to the screen",
    "commit": "memory is written, after the frame is shown",
}
PHASES = {
    "import": "libraries loaded",
    "load": "world and weights read",
    "warmup": "every quality level run once",
    "first_frame": "first tick",
}
