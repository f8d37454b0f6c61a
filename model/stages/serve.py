"""What a stage process does: loads its share of the networks and answers the messages of the ring."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..base.checkpoint import CheckpointError, fill_exactly
from ..memory.rolling import RollingKVMemory
from ..memory.rotary import rotary_of
from .kinds import AnyTokenizer, dynamics_config, new_tokenizer
from .layout import Interval
from .network import StageLayers, lane_from, load_blocks, read_tensors, table_shape
from .process.link import Command, Link, LinkError, Message, join
from .process.spec import BAD_START, ERROR, PEER_LOST, READY, StageSpec


def run_stage(spec: StageSpec, meet: Callable[[], Any], *, tell: Callable[[str, str], None], local: bool = True) -> int:
    """Load, join and serve; the exit code. `meet`: the store where the group meets. `tell`: a word of
    `nextframe.model.stages.process.spec` and what goes with it, for the process that started this one."""
    torch.set_num_threads(spec.threads)
    try:
        stage = Stage(spec)
    except CheckpointError as error:
        tell(ERROR, " ".join(str(error).split()))
        return BAD_START
    tell(READY, json.dumps(stage.opened))
    try:
        stage.serve(join(meet(), spec.rank, spec.devices, ring=spec.ring, own_device=spec.device, local=local))
    except LinkError as error:
        print(error, file=sys.stderr)
        return PEER_LOST
    return 0


class Stage:
    """What a stage process holds, and how it answers each command."""

    def __init__(self, spec: StageSpec) -> None:
        self.spec, self.config = spec, dynamics_config(spec.config)
        self.device = torch.device(spec.device)
        self.tokenizer: AnyTokenizer | None = None
        self._layers: list[StageLayers] = []
        keys: tuple[str, ...] = ()
        read_bytes = 0
        if spec.end > spec.first:
            blocks, opened = load_blocks(self.config, Path(spec.weights), Interval(spec.first, spec.end))
            memory_spec = replace(self.config.memory_spec(spec.rows), layers=spec.end - spec.first)
            rotary, blocks = rotary_of(self.config.width // self.config.heads), blocks.to(self.device)
            memories = (RollingKVMemory(memory_spec, self.device, limit=spec.window) for _ in range(spec.sessions))
            self._layers = [StageLayers(blocks, memory, rotary) for memory in memories]
            keys, read_bytes = opened.keys, opened.bytes
        if spec.tokenizer is not None:
            tokenizer = new_tokenizer(spec.tokenizer_kind, spec.tokenizer)
            tensors, more = read_tensors(Path(spec.tokenizer_weights), lambda name: True)
            fill_exactly(tokenizer, tensors, spec.tokenizer_weights)
            self.tokenizer = tokenizer.eval().requires_grad_(False).to(self.device)
            keys, read_bytes = (*keys, *(f"tokenizer/{key}" for key in more.keys)), read_bytes + more.bytes
        self.opened = {"pid": os.getpid(), "keys": list(keys), "bytes": read_bytes}
        self._busy_ns = self._passes = 0

    def layers(self, session: int) -> StageLayers:
        """Over this session's memory. Not there in a process that only decodes, which is never asked for them."""
        assert self._layers, "layers of a process that only decodes"
        return self._layers[session]

    def serve(self, link: Link) -> None:
        """Until told to stop. Raises LinkError when another process is gone."""
        message = Message(self.config, self.spec.rows, link.device)
        answers = {
            Command.RESET: self._reset, Command.NEW_EPOCH: self._new_epoch, Command.RESTORE: self._restore,
            Command.COLLECT: self._collect, Command.STATS: self._stats, Command.DECODE: self._decode,
        }  # fmt: skip
        with torch.inference_mode():
            while True:
                link.receive(message.whole, link.previous)
                header = message.header
                if header.command in {Command.DENOISE, Command.COMMIT, Command.PING}:
                    self._pass(message, header.command, link)
                    continue
                if link.next != 0:
                    link.send(message.whole, link.next)
                if header.command == Command.STOP:
                    return
                answers[header.command](link, message)

    def _pass(self, message: Message, command: Command, link: Link) -> None:
        if command != Command.PING:
            began_ns = time.perf_counter_ns()
            layers = self.layers(message.header.session)
            run = layers.commit if command == Command.COMMIT else layers.denoise
            message.tokens.copy_(run(message.tokens.to(self.device), message.gates.to(self.device)))
            self._busy_ns += time.perf_counter_ns() - began_ns
            self._passes += 1
        if link.next != 0:
            link.send(message.whole, link.next)
        elif command != Command.COMMIT:
            link.send(message.tokens, 0)

    def _reset(self, link: Link, message: Message) -> None:
        layers = self.layers(message.header.session)
        layers.memory.reset(message.header.argument)
        layers.forget_past()

    def _new_epoch(self, link: Link, message: Message) -> None:
        layers = self.layers(message.header.session)
        layers.memory.new_epoch()
        layers.forget_past()

    def _restore(self, link: Link, message: Message) -> None:
        layers = self.layers(message.header.session)
        memory = layers.memory
        table = link.receive_bulk(table_shape(memory.spec), torch.int64, 0)
        shape = tuple(memory.keys.shape)
        keys, values = (link.receive_bulk(shape, torch.float32, 0).cpu().numpy() for _ in range(2))
        memory.restore({"lanes": [lane_from(table.cpu(), keys, values)]})
        layers.forget_past()

    def _collect(self, link: Link, message: Message) -> None:
        memory = self.layers(message.header.session).memory
        link.send_bulk(memory.keys, 0)
        link.send_bulk(memory.values, 0)

    def _decode(self, link: Link, message: Message) -> None:
        if self.tokenizer is not None:
            link.send_bulk(self.tokenizer.decode(message.latent.to(self.device)), 0)

    def _stats(self, link: Link, message: Message) -> None:
        link.send_bulk(torch.tensor([self._passes, self._busy_ns]), 0)
        self._passes = self._busy_ns = 0
