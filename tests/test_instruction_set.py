"""The instruction set that `make test-avx2` holds down: it is in force, CI asks for it, and a recording says it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import pytest

from nextframe.model.base.devices import HELD_DOWN_BY, instruction_set
from tests.support.paths import ROOT

X86 = pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="AVX2 is of x86 processors")
ASKED = """
import torch
print(torch.backends.cpu.get_cpu_capability(), flush=True)
torch.mm(torch.ones(64, 64), torch.ones(64, 64))
"""


def held_down() -> dict[str, str]:
    """What the Makefile sets for `make test-avx2`."""
    (line,) = re.findall(r"^AVX2 := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return dict(word.split("=") for word in line.split())


def in_force(setting: dict[str, str]) -> str:
    """What torch and MKL of a new process say that they use."""
    free = {name: value for name, value in os.environ.items() if name not in HELD_DOWN_BY}
    command, environment = [sys.executable, "-c", ASKED], {**free, **setting, "MKL_VERBOSE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout


@X86
def test_torch_and_mkl_use_avx2_where_they_are_held_down_to_it() -> None:
    """Checked by what they say, since a variable that is not known is ignored without a word. The control: none set."""
    assert set(held_down()) == set(HELD_DOWN_BY)
    held, free = in_force(held_down()), in_force({})
    assert held.startswith("AVX2\n")
    if "AVX-512" not in free:
        pytest.skip("this processor has no AVX-512: AVX2 is what it uses anyway")
    assert free.startswith("AVX512\n")
    assert "AVX-512" not in held


@pytest.mark.bitexact
def test_the_tests_run_on_the_instruction_set_that_was_asked_for() -> None:
    if "ATEN_CPU_CAPABILITY" not in os.environ:
        pytest.skip("none was asked for")
    assert instruction_set().split(", ")[0].lower() == os.environ["ATEN_CPU_CAPABILITY"]


def test_ci_runs_the_tests_of_equal_bits_once_more() -> None:
    assert re.search(r"make test-avx2", (ROOT / ".ci/run").read_text(encoding="utf-8"))
    assert '-m "bitexact and not slow"' in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_what_holds_it_down_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HELD_DOWN_BY:
        monkeypatch.delenv(name, raising=False)
    free = instruction_set()
    assert "," not in free
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    assert instruction_set() == f"{free}, MKL_ENABLE_INSTRUCTIONS=AVX2"
