"""A nextframe command whose stages a launcher has started, on one host or several.

    torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
        -m nextframe.tools.lab.stages.hosts run circuit --idle --stages "denoise:0-3@cpu:0, denoise:3-6@cpu:1"

The same line on every host. The first process runs the command; every other one becomes the stage that the layout
gives its number, whatever host it is on. The world's folder must be at the same path everywhere, with the same weights.
"""

from __future__ import annotations

import sys


def main() -> int:
    from ....model.stages.process.hosts import dismiss, launched
    from ....model.stages.worker import serve_launched

    launch = launched()
    if launch is None:
        print(
            "nextframe.tools.lab.stages.hosts: expected RANK and WORLD_SIZE from torchrun, got none; start it so",
            file=sys.stderr,
        )
        return 2
    if launch.rank != 0:
        return serve_launched(launch)
    from ....runtime.cli.app import main as run_command

    try:
        run_command(sys.argv[1:])
    finally:
        dismiss(launch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
