"""The queue keeps what was measured whatever its steps do, and all of it can be rehearsed without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nextframe.model.generator.graphs import NoGraphs
from nextframe.tools.lab.gpu import queue
from nextframe.tools.lab.gpu.__main__ import default_out, main
from nextframe.tools.lab.gpu.large.decoder import LargeDecoder
from nextframe.tools.lab.gpu.large.generator import LargeGenerator, TickKind
from nextframe.tools.lab.gpu.large.net import TINY, LargeBlock, LargeNet
from nextframe.tools.lab.gpu.queue import ROOT, SHARES, QueueOptions, run_queue
from nextframe.tools.lab.gpu.step import STEPS, Context, SkippedError, failures
from nextframe.tools.lab.gpu.steps import large, throughput, training
from nextframe.tools.lab.gpu.steps.checks import MARK
from nextframe.tools.lab.gpu.timing import Marks, by_name, seconds_of, summary

CPU = torch.device("cpu")
NOT_ON_A_BARE_MACHINE = ("pydantic", "pygame", "moderngl", "av", "crc32c", "msgpack", "typer", "jinja2")
"""What a machine that has only torch, numpy, safetensors and rich lacks."""


def context(tmp_path: Path, seconds: float = 60.0) -> Context:
    return Context(CPU, seconds, rehearse=True, folder=tmp_path, out=tmp_path / "step.json")


def options(tmp_path: Path, *steps: str, minutes: float = 1.0) -> QueueOptions:
    return QueueOptions(minutes, steps, "cpu", True, tmp_path / "run.json")


# --- the queue ----------------------------------------------------------------------------------------------------

PROGRAMS = {
    "machine": 'out.write_text(\'{"status": "running", "half": 1}\'); time.sleep(600)',
    "checks": 'out.write_text(\'{"status": "running", "half": 2}\'); print(\'last words\', flush=True); os._exit(3)',
    "agreement": "out.write_text('not json'); os._exit(1)",
    "circuit": 'out.write_text(\'{"status": "ok", "fps": 7}\')',
}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that hang, crash, write rubbish, and work."""

    def command(name: str, part: Path, seconds: float, options: QueueOptions) -> list[str]:
        head = f"import os, pathlib, time; out = pathlib.Path({str(part)!r}); "
        return [sys.executable, "-c", head + PROGRAMS[name]]

    monkeypatch.setattr(queue, "command_of", command)
    monkeypatch.setattr(queue, "GRACE_S", 0.5)
    monkeypatch.setattr(queue, "SHARES", {**SHARES, "machine": 0.001})


@pytest.mark.usefixtures("programs")
def test_a_step_that_hangs_or_dies_keeps_what_it_wrote_and_stops_no_other(tmp_path: Path) -> None:
    document = run_queue(options(tmp_path, *PROGRAMS))
    steps = document["steps"]
    assert document == json.loads((tmp_path / "run.json").read_text())
    assert steps["machine"] == {"status": "out of time", "half": 1, "output": ""}
    assert steps["checks"]["status"] == "failed"
    assert (steps["checks"]["half"], steps["checks"]["output"]) == (2, "last words\n")
    assert steps["agreement"]["status"] == "failed"
    assert steps["circuit"] == {"status": "ok", "fps": 7}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]


@pytest.mark.usefixtures("programs")
def test_what_there_is_no_time_for_is_said_to_be_not_reached(tmp_path: Path) -> None:
    document = run_queue(options(tmp_path, "circuit", minutes=0.01))
    assert document["steps"]["circuit"]["status"] == "not reached"


def test_every_step_has_a_share_of_the_time() -> None:
    assert list(SHARES) == list(STEPS)
    assert sum(SHARES.values()) == pytest.approx(1.0)


def test_a_part_that_raises_is_reported_and_the_next_part_runs(tmp_path: Path) -> None:
    def broken() -> None:
        raise ValueError("a wrong number")

    def impossible() -> None:
        raise SkippedError("no such device")

    one = context(tmp_path)
    one.attempt("first", broken)
    one.attempt("second", impossible)
    one.attempt("third", lambda: {"rows": {"a": {"met": False}, "b": {"met": True}}})
    written = json.loads(one.out.read_text())
    assert written["first"] == {"status": "failed", "error": "ValueError: a wrong number"}
    assert written["second"] == {"status": "skipped", "reason": "no such device"}
    assert failures(one.results) == ["first", "third/rows/a"]


def test_steps_need_no_package_that_a_bare_machine_lacks() -> None:
    """The whole of what they import, also inside functions, with those packages made impossible to import."""
    lazily = [f"nextframe.worlds.{name}" for name in ("neural.world", "drive.world", "freedoom.world")]
    lazily += [
        f"nextframe.worlds.circuit.{name}" for name in ("recipe.dynamics", "evaluation.forced", "evaluation.rig")
    ]
    names = [*STEPS.values(), "nextframe.tools.lab.gpu.__main__", *lazily]
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({NOT_ON_A_BARE_MACHINE!r}))\n"
        f"from importlib import import_module\nfor name in {names!r}: "
        "import_module(name)\ntry:\n    import pydantic\nexcept ImportError:\n    print('blocked')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "blocked"), done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_the_command_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert main() == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert "expected a CUDA device" in said
    assert "--rehearse" in said


def test_a_step_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--rehearse", "--steps", "machine,larg"])
    assert main() == 2
    assert "got larg" in capsys.readouterr().err


def test_results_lie_apart_from_rehearsals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUT", raising=False)
    kept, tried = (default_out(CPU, rehearse=rehearse) for rehearse in (False, True))
    assert kept.parent == ROOT / "tools" / "lab" / "gpu" / "results"
    assert tried.parent == ROOT / "out" / "gpu-rehearsal"
    monkeypatch.setenv("OUT", str(tmp_path))
    assert default_out(CPU, rehearse=True).parent == tmp_path


@pytest.mark.slow
def test_the_command_rehearses_and_puts_its_document_where_it_is_told(tmp_path: Path) -> None:
    out = tmp_path / "here"
    out.mkdir()
    command = ["bash", "tools/lab/gpu/run.sh", "--rehearse", "--minutes", "1", "--steps", "machine"]
    environment = {**os.environ, "NEXTFRAME_PYTHON": sys.executable, "OUT": str(out)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    document = json.loads(path.read_text())
    assert path.name.startswith("rehearsal-")
    assert document["schema"] == "nextframe.gpu/1"
    assert document["rehearsal"] is True
    assert document["statuses"] == {"machine": "ok"}
    assert document["steps"]["machine"]["ceilings"]["bf16_tflops"] > 0
    assert str(path) in done.stdout


def test_a_step_runs_in_a_process_of_its_own_and_brings_its_results_back(tmp_path: Path) -> None:
    document = run_queue(options(tmp_path, "machine"))
    assert document["statuses"] == {"machine": "ok"}
    assert document["steps"]["machine"]["machine"]["torch"] == str(torch.__version__)
    assert document["steps"]["machine"]["ceilings"]["bf16_tflops"] > 0


@pytest.mark.slow
def test_the_whole_queue_rehearses(tmp_path: Path) -> None:
    document = run_queue(QueueOptions(10.0, tuple(STEPS), "cpu", True, tmp_path / "run.json"))
    lacking = {"freedoom"} if find_spec("vizdoom") is None else set()
    statuses = {name: "skipped" if name in lacking else "ok" for name in STEPS}
    assert document["statuses"] == statuses, json.dumps(document["steps"], indent=1)
    large_step = document["steps"]["large"]
    assert {variant.name for variant in large.VARIANTS} <= large_step.keys()
    assert all(large_step[variant.name]["finite"] for variant in large.VARIANTS)
    assert document["steps"]["training"]["weights"]["differs_from_shipped"]


def test_the_mark_of_a_gpu_test_is_found_and_only_it() -> None:
    assert MARK.search("@pytest.mark.gpu\n")
    assert not MARK.search("@pytest.mark.gpus and mark_gpu")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (("gpu_says", "{scratch}/x"), {"on_device": True, "document": {"fps": 3}}),
        (("gpu_talks",), {"on_device": False, "said": ["no", "document"]}),
    ],
)
def test_a_bench_leaves_its_document_or_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...], expected: dict[str, Any]
) -> None:
    for name, said, offered in (("gpu_says", '{"fps": 3}', "--device"), ("gpu_talks", "no\\ndocument", "")):
        code = f"import sys\nprint('{offered}' if '--help' in sys.argv else '{said}')\n"
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    one = replace(context(tmp_path), rehearse=False)
    assert throughput.bench(program, one, 1) == expected


def test_a_bench_that_needs_more_than_is_installed_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpu_needs.py").write_text("import a_package_that_is_nowhere")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SkippedError, match="a_package_that_is_nowhere"):
        throughput.bench(("gpu_needs",), context(tmp_path), 1)
    with pytest.raises(SkippedError, match="not part of this checkout"):
        throughput.bench(("gpu_is_nowhere",), context(tmp_path), 1)


# --- times --------------------------------------------------------------------------------------------------------


def test_marks_are_the_times_between_and_two_of_a_name_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0, 2_000_000, 5_000_000, 9_000_000])
    monkeypatch.setattr("nextframe.tools.lab.gpu.timing.time.perf_counter_ns", lambda: next(moments))
    marks = Marks(CPU)
    for name in ("begin", "denoise", "decode", "denoise"):
        marks.mark(name)
    assert marks.spans_ms() == {"denoise": 6.0, "decode": 3.0}
    assert marks.total_ms("decode") == 5.0


def test_summaries_are_linear_percentiles() -> None:
    assert summary([1.0, 2.0, 3.0, 4.0]) == {"p50": 2.5, "p95": 3.85}
    assert by_name([{"a": 1.0}, {"a": 3.0, "b": 5.0}]) == {"a": {"p50": 2.0, "p95": 2.9}, "b": {"p50": 5.0, "p95": 5.0}}


def test_the_mean_time_leaves_the_first_run_out() -> None:
    runs: list[int] = []
    assert seconds_of(lambda: runs.append(1), CPU, 0.0) < 1.0
    assert len(runs) == 2 + 3


# --- the large network --------------------------------------------------------------------------------------------


def test_the_full_size_is_that_of_the_published_model() -> None:
    config = large.LargeConfig()
    with torch.device("meta"):
        net, decoder = LargeNet(config), LargeDecoder(config)
    assert (config.tokens, config.head_dim, config.height_px, config.width_px) == (1560, 128, 480, 832)
    assert 1.2e9 < sum(part.numel() for part in net.parameters()) < 1.4e9
    assert 9e6 < decoder.parameters_count < 11e6


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Torch counts attention where it is made of matrix products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        yield counted


def test_counted_operations_are_those_that_torch_counts() -> None:
    torch.manual_seed(0)
    net, decoder = LargeNet(TINY).requires_grad_(False), LargeDecoder(TINY).requires_grad_(False)
    kind = TickKind(2)
    one = LargeGenerator(net, decoder, kind, NoGraphs())
    session = large.Session(one, beside=False)
    for number in range(TINY.remembered + 3):
        session.tick(number)
    one.start([0.0] * TINY.action_dim)
    one.condition()
    patches = 2 * TINY.tokens * TINY.width * TINY.channels * TINY.patch**2
    with counting() as counted:
        for step in range(2):
            one.denoise(step)
    assert counted.get_total_flops() == 2 * (TINY.pass_flop(1, 1 + TINY.remembered) + 2 * patches)
    one.finish()
    with FlopCounterMode(display=False) as counted:
        one.decode()
    assert counted.get_total_flops() == decoder.flop()
    with counting() as counted:
        one.commit()
    # The pass that commits; re-anchoring the sinks has no products.
    assert counted.get_total_flops() == TINY.pass_flop(1, TINY.remembered) + patches
    assert large.flop_per_latent(TINY, kind) == 2 * TINY.pass_flop(1, 8) + TINY.pass_flop(1, 7)


def test_one_compilation_serves_all_layers() -> None:
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    config = replace(TINY, layers=4)
    torch.manual_seed(0)
    net, decoder = LargeNet(config).requires_grad_(False), LargeDecoder(config).requires_grad_(False)
    run = torch.compile(LargeBlock.forward, backend=counter, fullgraph=True, dynamic=False)
    session = large.Session(LargeGenerator(net, decoder, TickKind(2), NoGraphs(), run_block=run), beside=False)
    for number in range(config.remembered + 3):
        session.tick(number)
    assert counter.frame_count == 2, "one for a denoise step, one for the commit"


def test_a_variant_is_measured_and_says_what_it_was(tmp_path: Path) -> None:
    networks = large.Networks(TINY, CPU)
    variant = next(one for one in large.VARIANTS if one.name == "2 steps, graphs")
    found = large.measured(variant, networks, context(tmp_path), 1.0)
    assert found["finite"]
    assert found["picture_std"] > 0
    assert found["latents_between_input_and_picture"] == 0
    assert found["fps"] == pytest.approx(4 * 1e3 / found["period_ms"], rel=1e-3)
    assert set(found["stage_ms"]) == {"condition", "denoise", "decode", "copy", "commit"}
    assert found["input_to_picture_ms"]["p50"] < found["period_ms"] * 3


def test_the_goal_is_judged_on_sessions_that_commit_finished_frames() -> None:
    rows: dict[str, Any] = {
        "a": {"fps": 60.0, "steps": 2, "commit": "merged"}, "b": {"fps": 90.0, "steps": 1, "commit": "merged"},
        "c": {"fps": 80.0, "steps": 2, "commit": "same_level"}, "d": {"status": "skipped"},
    }  # fmt: skip
    found = large.goal(rows)
    assert (found["best"], found["fastest_of_all"], found["reached"]) == ("a", "b", False)
    assert not large.goal({})["reached"]


# --- training -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_episodes_made_in_pieces_are_those_made_at_once() -> None:
    whole, first, second = (training._drive(asked) for asked in ((0, 6, 12), (0, 3, 12), (3, 3, 12)))
    for name, values in whole.items():
        assert (values[:3] == first[name]).all()
        assert (values[3:] == second[name]).all()


def test_training_begins_from_the_shipped_weights(tmp_path: Path) -> None:
    training.begin_from_the_shipped(tmp_path, CPU)
    stored = torch.load(tmp_path / "dynamics.checkpoint", weights_only=True)
    assert stored["step"] == 0
    out = tmp_path / "out"
    out.mkdir()
    assert training.keep(tmp_path, out)["differs_from_shipped"] is False
    assert (out / "dynamics.safetensors").is_file()


def test_weights_that_are_not_numbers_are_not_kept(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.tensor([1.0, torch.nan])}, tmp_path / "dynamics.safetensors")
    with pytest.raises(RuntimeError, match="finite"):
        training.keep(tmp_path, tmp_path)
