"""A real worker process for benchmarks: started with a configuration, ended by its own handle."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Worker", "worker"]


class Worker:
    """A worker that has joined its groups."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        """Take a started process and the port of its web endpoints."""
        self.process = process
        self._address = f"http://127.0.0.1:{port}"

    async def ready(self) -> None:
        """Wait until it has joined all its groups."""
        async with asyncio.timeout(60), ClientSession(self._address) as session:
            while True:
                async with session.get("/readyz") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.1)

    async def figure(self, name: str) -> float:
        """Return a figure of `/metrics`, without labels."""
        async with ClientSession(self._address) as session, session.get("/metrics") as answer:
            found = re.search(rf"^{re.escape(name)} (\S+)$", await answer.text(), re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def largest_mib(self) -> float:
        """Return the largest resident memory so far, in MiB (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextlib.asynccontextmanager
async def worker(config: str) -> AsyncIterator[Worker]:
    """Run a worker while the context lasts; its configuration must leave the web port to chance."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tocsin.yml"
        path.write_text(config)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pipeline.consumer", "worker", "--config", str(path),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        drained: asyncio.Task[bytes] | None = None
        try:
            stream = process.stderr
            if stream is None:
                raise RuntimeError("the worker has no standard error")
            async with asyncio.timeout(30):
                while not (found := re.search(rb'"port": (\d+)', await stream.readline())):
                    if stream.at_eof():
                        raise RuntimeError("the worker did not start")
            drained = asyncio.create_task(stream.read())
            one = Worker(process, int(found.group(1)))
            await one.ready()
            yield one
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            if drained is not None:
                await drained
