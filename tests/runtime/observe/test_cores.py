"""Claims about how many cores a process may use, on copies of what the kernel says in containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextframe.runtime.observe import cores


def host(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    root, groups = folder / "cgroup", folder / "self"
    groups.write_text(own)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root.mkdir(exist_ok=True)
    return groups, root


V1_OWN = "cpu,cpuacct/docker/abc/cpu.cfs"
V1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/user/app\n", {"user/app/cpu.max": "max 100000", "user/cpu.max": "50000 100000"}, 0.5),
        ("0::/user/app\n", {"user/app/cpu.max": "400000 100000", "user/cpu.max": "200000 100000"}, 2.0),
        ("0::/gone/on/the/host\n", {"cpu.max": "300000 100000"}, 3.0),
        (V1, {f"{V1_OWN}_quota_us": "200000", f"{V1_OWN}_period_us": "100000"}, 2.0),
        (V1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        (V1, {f"{V1_OWN}_quota_us": "-1", f"{V1_OWN}_period_us": "100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("", {}, None),
    ],
)  # fmt: skip
def test_the_quota_of_a_container_is_seen(
    tmp_path: Path, own: str, files: dict[str, str], expected: float | None
) -> None:
    assert cores.cpu_quota_cores(*host(tmp_path, own, files)) == expected


def test_the_fewest_of_affinity_and_quota_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(cores, "cpu_quota_cores", lambda: 1.5)
    assert cores.usable_cores() == 1.5
    monkeypatch.setattr(cores, "cpu_quota_cores", lambda: None)
    assert cores.usable_cores() == 3
    monkeypatch.setattr(cores, "cpu_quota_cores", lambda: 8.0)
    assert cores.usable_cores() == 3
