"""Claims about the table of commands: nothing is imported that was not asked for, and help reads well at 80 columns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nextframe.runtime.cli.app import COMMANDS, run_command

OURS = "nextframe."
COLUMNS = 80


def modules_after(statements: str, folder: Path) -> set[str]:
    """The modules that a fresh Python has imported after these statements."""
    program = f"import json, sys\n{statements}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120, cwd=folder
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_cli_imports_no_tool_and_no_command(tmp_path: Path) -> None:
    ours = {name for name in modules_after("import nextframe.runtime.cli.app", tmp_path) if name.startswith(OURS)}
    assert ours == {
        "nextframe.runtime", "nextframe.runtime.cli", "nextframe.runtime.cli.app",
        "nextframe.runtime.cli.output", "nextframe.runtime.core",
    }  # fmt: skip


def test_the_help_of_every_command_imports_no_tool_and_no_session(tmp_path: Path) -> None:
    asked = "\n".join(f"run_command(['{name}', '--help'])" for name in COMMANDS)
    loaded = modules_after(f"from nextframe.runtime.cli.app import run_command\n{asked}", tmp_path)
    assert "nextframe.runtime.cli.checks" in loaded, "the commands themselves must have been there"
    assert not {name for name in loaded if name.startswith(("nextframe.tools", "nextframe.runtime.session"))}
    assert not loaded & {"torch", "pygame", "moderngl", "av"}


def test_a_headless_session_loads_neither_gl_nor_a_window_library(tmp_path: Path) -> None:
    words = ["run", "toy", "--ticks", "3", "--idle", "--clock", "fixed"]
    loaded = modules_after(
        f"from nextframe.runtime.cli.app import run_command\nassert not run_command({words})", tmp_path
    )
    assert "nextframe.runtime.display.null" in loaded
    assert not loaded & {"moderngl", "glcontext", "pygame", "torch"}


def test_python_dash_m_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nextframe", "worlds"], capture_output=True, text=True, timeout=120, cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "nextframe play toy" in done.stdout


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_80_columns_without_long_numbers_or_cut_words(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nextframe", *([name] if name else []), "--help"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False,
        env={**os.environ, "COLUMNS": str(COLUMNS), "TERM": "dumb", "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert not re.search(r"\d{6}", done.stdout), "a number that long is no help"
    assert "<bool>" not in done.stdout
    types = [re.sub(r"^│[ *]*(--[a-z/-]+ *)*", "", line)[:30] for line in lines if line.startswith("│")]
    assert not [text for text in types if text.count("[") != text.count("]") and "x<" in text], "a range is cut"


def test_a_seed_past_what_a_recording_holds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "toy", "--ticks", "1", "--idle", "--seed", str(1 << 63)]) == 2
    complaint = capsys.readouterr().err
    assert "expected 0 to 9223372036854775807" in complaint
    assert complaint.count("\n") == 1
    assert run_command(["run", "toy", "--ticks", "1", "--idle", "--seed", "-1"]) == 2
