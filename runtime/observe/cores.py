"""How many processors this process may use: what the machine has, its affinity, and the quota of its container."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _share(quota: int | None, period: int | None) -> float | None:
    return quota / period if quota is not None and period and quota > 0 else None


def _quota_of(group: Path) -> float | None:
    """Cores of one group: `cpu.max` of cgroups v2, `cpu.cfs_quota_us` of v1; None where it sets no limit."""
    quota, _, period = _text(group / "cpu.max").partition(" ")
    if quota:
        return _share(_number(quota), _number(period))
    return _share(_number(_text(group / "cpu.cfs_quota_us")), _number(_text(group / "cpu.cfs_period_us")))


def cpu_quota_cores(own_groups: Path = OWN_GROUPS, root: Path = CGROUPS) -> float | None:
    """CPU seconds a second that the container allows (1.5: one and a half cores); None where nothing limits it.

    A group is limited by all groups above it too. Inside a container the own path often names a folder of the host;
    then the root of what is mounted is this container's group.
    """
    found: list[float] = []
    for line in _text(own_groups).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        bases = [root] if not controllers else [root / controllers, root / "cpu"]
        for base in bases:
            group = base / path.strip("/")
            groups = [group, *group.parents[: len(Path(path.strip("/")).parts)]] if path.strip("/") else [base]
            found += [quota for one in (*groups, base) if (quota := _quota_of(one)) is not None]
    return min(found, default=None)


def usable_cores() -> float:
    """The fewest of what the machine has, what the affinity allows, and what the quota allows."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(float(there), cpu_quota_cores() or float(there))
