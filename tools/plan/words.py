"""A plan for people and for programs: the table, the recommendation in words, the JSON document.

Every number comes from `planner`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...model.stages.layout import Interval, StageLayout
from .hardware import Device
from .layout import Layout, memory_bytes
from .planner import Answer
from .predict import Goal, Plan, Request

SCHEMA = "nextframe.plan/1"
HEADINGS = ("mode", "layout", "sessions", "rows", "FPS each", "FPS all", "ms", "late", "GB")


def kind(plan: Plan) -> str:
    """`4 x 2 stages + decoder`."""
    shape = plan.shape
    stages = f"{shape.stages} stage" + "s" * (shape.stages > 1) + (" + decoder" if shape.own_decoder else "")
    return f"{plan.replicas} x {stages}"


def intervals(layout: Layout) -> str:
    return " | ".join(f"{first}-{end - 1}" for first, end in layout.intervals)


def stages_option(layout: Layout) -> str:
    """One replica as `--stages` takes it (docs/stages.md has the grammar): its devices counted from 0 for each kind,
    a processor where its name begins with cpu, else a GPU."""
    names = _torch_devices(layout.devices)
    placed = tuple(Interval(first, end) for first, end in layout.intervals)
    alone = (Interval(placed[-1].end, placed[-1].end),) * layout.own_decoder
    return str(StageLayout((*placed, *alone), names, len(names) - 1))


def _torch_devices(devices: Sequence[Device]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    names = []
    for device in devices:
        kind = "cpu" if device.name.startswith("cpu") else "cuda"
        names.append(f"{kind}:{seen[kind]}")
        seen[kind] += 1
    return tuple(names)


def short(plan: Plan) -> str:
    """`4 x 2+d`: four replicas of two stages and a device that decodes."""
    return f"{plan.replicas} x {plan.shape.stages}" + "+d" * plan.shape.own_decoder


def print_table(answer: Answer) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    request = answer.request
    title = f"{request.profile.name}: sessions {request.sessions}, devices {_devices(request)}, goal {request.goal}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in {"mode", "layout"} else "right", no_wrap=True)
    for plan in answer.plans:
        table.add_row(
            ("* " if plan is answer.recommended else "  ") + plan.shape.mode,
            short(plan),
            str(plan.sessions),
            str(plan.shape.rows),
            f"{plan.fps_session:.2f}",
            f"{plan.fps_total:.1f}",
            f"{plan.latency_ms:.1f}",
            str(plan.lag_latents) if plan.lag_latents else "-",
            f"{plan.memory_bytes / 1e9:.2f}",
            style="bold" if plan is answer.recommended else None,
        )
    Console().print(table)


def _devices(request: Request) -> str:
    counts: dict[str, int] = {}
    for device in request.devices:
        counts[device.name] = counts.get(device.name, 0) + 1
    return " + ".join(f"{count} {name}" for name, count in counts.items())


def sentences(answer: Answer) -> list[str]:
    """What is recommended, what it costs against one device, which limits are missed, and what is assumed."""
    best, request = answer.recommended, answer.request
    used = f"{best.devices} of {len(request.devices)} devices"
    return [
        f"Recommended: {best.shape.mode}, {kind(best)}, rows in a forward: {best.shape.rows}, {used}; "
        f"layers {intervals(best.shape)}; fullest device {best.memory_bytes / 1e9:.2f} GB, "
        f"{100 * best.memory_share:.0f} % of it.",
        f'In a session, one replica: --stages "{stages_option(best.shape)}"',
        _against_one(answer),
        *_missed(answer),
        *_late(best, request),
        f"Costs: {request.profile.source}. Link: {request.link.name}, {request.link.bandwidth_gb_s:.3g} GB/s, "
        f"{request.link.latency_ms:.3g} ms.",
    ]


def _against_one(answer: Answer) -> str:
    best, alone = answer.recommended, answer.alone
    if alone is None:
        return (
            f"One device cannot be compared: it is {answer.alone_short_bytes / 1e9:.2f} GB short for a single session."
        )
    more_ms = best.latency_ms - alone.latency_ms
    change = f"{'costs' if more_ms > 0 else 'saves'} {abs(more_ms):.1f} ms of latency"
    change += f" ({100 * more_ms / alone.latency_ms:+.0f} %)"
    if abs(more_ms) < 0.005 * alone.latency_ms:
        change = "costs no latency"
    return (
        f"Against one session alone on one device ({alone.fps_session:.2f} FPS, {alone.latency_ms:.1f} ms) it "
        f"{change} and shows "
        f"{best.fps_total / alone.fps_total:.2f} times the pictures in all, "
        f"{best.fps_session / alone.fps_session:.2f} times for each session. An input that just misses its tick shows "
        f"within {best.fresh_ms:.1f} ms."
    )


def _missed(answer: Answer) -> list[str]:
    best, request, lines = answer.recommended, answer.request, []
    if request.goal is Goal.SESSIONS and (best.sessions_at_rate or 0) < request.sessions:
        served = best.sessions_at_rate or 0
        lines.append(
            f"NOT MET: {served} of {request.sessions} sessions keep {request.frame_hz:g} FPS and fit in memory."
        )
    if request.frame_hz is not None and best.fps_session < request.frame_hz * (1 - 1e-6):
        lines.append(f"NOT MET: {request.frame_hz:g} FPS asked, {best.fps_session:.2f} predicted for each session.")
    if request.max_latency_ms is not None and best.latency_max_ms > request.max_latency_ms * (1 + 1e-6):
        lines.append(f"NOT MET: {request.max_latency_ms:g} ms asked, {best.latency_max_ms:.1f} ms predicted.")
    return lines


def _late(best: Plan, request: Request) -> list[str]:
    if not best.lag_latents:
        return []
    frames = best.lag_latents * request.profile.frames_per_latent
    unit = "latent" if best.lag_latents == 1 else "latents"
    return [f"A new input shows {best.lag_latents} {unit} ({frames} pictures) late: stream-batch is not lossless."]


def document(answer: Answer) -> dict[str, Any]:
    """One JSON document; units are in the names."""
    request = answer.request
    return {
        "schema": SCHEMA,
        "world": request.profile.name,
        "goal": str(request.goal),
        "devices": [{"name": d.name, "speed": d.speed, "memory_bytes": d.memory_bytes} for d in request.devices],
        "sessions": request.sessions,
        "fps_asked": request.frame_hz,
        "max_latency_ms": request.max_latency_ms,
        "link": request.link.model_dump(),
        "met": answer.met,
        "recommended": _plan_document(answer.recommended, request),
        "plans": [_plan_document(plan, request) for plan in answer.plans],
        "one_device": None if answer.alone is None else _plan_document(answer.alone, request),
        "one_device_short_bytes": answer.alone_short_bytes,
        "words": sentences(answer),
        "profile": request.profile.model_dump(mode="json"),
    }


def _plan_document(plan: Plan, request: Request) -> dict[str, Any]:
    shape = plan.shape
    return {
        "mode": shape.mode,
        "replicas": plan.replicas,
        "stages": shape.stages,
        "own_decoder": shape.own_decoder,
        "layout": [list(interval) for interval in shape.intervals],
        "stages_option": stages_option(shape),
        "rows": shape.rows,
        "devices_used": plan.devices,
        "sessions": plan.sessions,
        "fps_session": plan.fps_session,
        "fps_total": plan.fps_total,
        "latency_ms": {"p50": plan.latency_ms, "max": plan.latency_max_ms},
        "fresh_ms": plan.fresh_ms,
        "lag_latents": plan.lag_latents,
        "memory_bytes": memory_bytes(request.profile, shape),
        "sessions_at_rate": plan.sessions_at_rate,
    }
