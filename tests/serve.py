"""The app in a process of its own for tests: `python tests/serve.py MODEL DELAY PORT CACHE`.

MODEL is tiny, the bundled one; random, a small LLaVA with random weights; or another family by its `model_type`.
Prints the address once it answers. Out of the tests' process, since a server leaves sockets to the garbage collector.
DELAY is a pause in seconds after each answer token; PORT 0 is any free one; CACHE is what is kept of results, in MiB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
READY = "ready at "


@contextmanager
def served(model: str, delay: float = 0.0) -> Iterator[str]:
    """The address of a server that runs as long as the block."""
    with started(model, delay) as (url, _):
        yield url


@contextmanager
def started(
    model: str, delay: float = 0.0, port: int = 0, cache: int = 3072
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Address and process of a server that is ended with the block, where it still runs."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, model, str(delay), str(port), str(cache)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith(READY):
                yield line.removeprefix(READY).strip(), process
                break
        else:
            raise RuntimeError("The server did not start.")
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(20)


def main() -> None:
    """Serve until terminated."""
    import socket

    from tiny_models import FAMILIES, llava

    import trimviz
    from trimviz.ui.app import build, show
    from trimviz.ui.examples import examples
    from trimviz.ui.service import Service
    from trimviz.ui.start import prepare

    made = {"random": llava, "tiny": partial(trimviz.load, "tiny", device="cpu"), **FAMILIES}
    model = made[sys.argv[1]]()
    service = Service(model, cache_bytes=int(sys.argv[4]) * 2**20)
    prepare(service, examples(drawn_first=service.bundled)[:1])
    pause, decode = float(sys.argv[2]), model.decode

    def slowly(ids):
        time.sleep(pause)
        return decode(ids)

    model.decode = slowly
    port = int(sys.argv[3])
    if port == 0:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    print(READY + show(build(service), "127.0.0.1", port, block=False), flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
