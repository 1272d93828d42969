"""Measures `kerasmlp serve`: requests per second, swaps of versions, malformed requests and slow clients.

Claims:

- One process answers at least 7,000 requests a second, one image each to a float32 TFLite file of 784-128-64-10, from
  four keep-alive connections on two cores, in less than 0.6 ms at the median.
- 10,000 requests during 20 swaps of versions do not fail.
- 500 malformed requests are each answered by status 400 and a sentence, in memory that does not grow.
- Fifty clients that send a byte now and then, and one that sends large batches, delay nobody else.

The load comes from another process, which sends prepared bytes and only looks for the end of each answer. Run it with
a run of MNIST and its data:

    python -m tests.benchmarks.bench_serve runs/mnist mnist.npz --json serve.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop

from kerasmlp.data.loading import load_data
from kerasmlp.serving.run_conversion import convert_run
from tests.benchmarks.machine import describe_machine

CONNECTIONS, ROUNDS, REQUESTS = 4, 5, 20_000
SWAPS, SWAP_REQUESTS, MALFORMED = 20, 10_000, 500


class _Client(asyncio.Protocol):
    """A keep-alive connection that sends the next request as soon as an answer is complete."""

    def __init__(self, requests: list[bytes], load: Load) -> None:
        self._requests, self._load, self._received, self._place = requests, load, b"", 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._place += 1
        self._began = time.perf_counter()
        self._transport.write(self._requests[self._place % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < int(re.search(rb"content-length: (\d+)", head)[1]):  # type: ignore[index]
            return
        self._load.answered(time.perf_counter() - self._began, head[9:12], body)
        self._received = b""
        if self._load.goes_on:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.ended(error)


class Load:
    """Requests from several connections, and how they were answered."""

    def __init__(self, count: int) -> None:
        """Takes the number of requests after which it ends."""
        self._count, self._open = count, 0
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self.answers: set[bytes] = set()

    @property
    def goes_on(self) -> bool:
        """Whether more requests are to be sent."""
        return len(self.seconds) < self._count

    def answered(self, seconds: float, status: bytes, body: bytes) -> None:
        """Notes an answer."""
        self.seconds.append(seconds)
        if status != b"200":
            self.failures.append(body.decode()[:200])
        elif len(self.answers) < 100:
            self.answers.add(body)

    def ended(self, error: Exception | None) -> None:
        """Notes that a connection is closed."""
        if error is not None or self.goes_on:
            self.failures.append(f"connection lost: {error}")
        self._open -= 1
        if not self._open:
            self._end.set_result(None)

    async def run(self, port: int, requests: list[bytes], connections: int = CONNECTIONS) -> float:
        """Sends the requests in turn from each connection, and returns the seconds that all took."""
        loop = asyncio.get_running_loop()
        self._end, self._open = loop.create_future(), connections
        began = time.perf_counter()
        for _ in range(connections):
            await loop.create_connection(lambda: _Client(requests, self), "127.0.0.1", port)
        await self._end
        return time.perf_counter() - began


def request(path: str, payload: Any) -> bytes:
    """Returns the bytes of a request."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Server:
    """`kerasmlp serve` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        """Starts it and waits until it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kerasmlp", "serve", *arguments, "--port", "0", "--json"], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["url"].rpartition(":")[2])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0

    @property
    def rss_mb(self) -> float:
        """The memory of the process in megabytes."""
        return float(psutil.Process(self._process.pid).memory_info().rss / 1e6)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Returns the median and the 99th percentile in milliseconds."""
    return {f"p{part}_ms": round(float(np.percentile(seconds, part)) * 1e3, 3) for part in (50, 99)}


async def bench_throughput(server: Server, requests: list[bytes]) -> dict[str, Any]:
    """Rounds of single images from four connections."""
    await Load(2_000).run(server.port, requests)  # to warm up
    rounds = []
    for _ in range(ROUNDS):
        load = Load(REQUESTS)
        seconds = await load.run(server.port, requests)
        assert not load.failures, load.failures[:3]
        rounds.append({"requests_per_s": round(len(load.seconds) / seconds), **percentiles(load.seconds)})
    middle = sorted(rounds, key=lambda each: each["requests_per_s"])[len(rounds) // 2]
    return {"median": middle, "rounds": rounds, "rss_mb": round(server.rss_mb)}


async def bench_swaps(base: Path, versions: list[Path], requests: list[bytes]) -> dict[str, Any]:
    """Requests while newer versions are published."""
    with Server(str(base), "--poll-s", "0.02") as server:
        load = Load(10**9)
        running = asyncio.create_task(load.run(server.port, requests))
        for number in range(2, SWAPS + 2):
            wanted = len(load.seconds) + SWAP_REQUESTS // SWAPS
            hidden = base / f".{number}"
            shutil.copytree(versions[number % len(versions)], hidden)
            hidden.rename(base / str(number))
            status = f"/v1/models/{base.name}"
            while await _newest(server.port, status) != number or len(load.seconds) < wanted:
                await asyncio.sleep(0.01)
        load._count = 0
        await running
    return {
        "swaps": SWAPS,
        "requests": len(load.seconds),
        "failures": len(load.failures),
        "different_answers": len(load.answers),
        **percentiles(load.seconds),
    }


async def _newest(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return max(int(version["version"]) for version in json.loads(body)["model_version_status"])


async def bench_malformed(server: Server, path: str, image: Any) -> dict[str, Any]:
    """Requests that are cut off, or have bytes changed, so that they cannot be answered."""
    generator = np.random.default_rng(0)
    good = json.dumps({"instances": [image]}).encode()
    before, statuses, sentences = server.rss_mb, [], set()
    for number in range(MALFORMED):
        cut = good[: int(generator.integers(0, len(good) - 2))]
        bodies = [
            cut,
            cut + bytes(generator.integers(0, 256, 5).astype(np.uint8)),
            good.replace(b"instances", b"instance"),
            b"[" * int(generator.integers(2, 5000)),
            good.replace(b"0", b'"0"', 1 + int(generator.integers(0, 9))),
            json.dumps({"instances": [image[: int(generator.integers(0, len(image)))]]}).encode(),
            json.dumps({"instances": [[[1e9] * 28] * 28]}).encode(),
            json.dumps({"signature_name": 5, "instances": [image]}).encode(),
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request(path, bodies[number % len(bodies)]))
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
        writer.close()
        statuses.append(int(head[9:12]))
        sentences.add(json.loads(body)["error"])
    assert all(sentences)
    return {
        "requests": MALFORMED,
        "answered_400": statuses.count(400),
        "rss_before_mb": round(before, 1),
        "rss_after_mb": round(server.rss_mb, 1),
    }


async def bench_slow(server: Server, requests: list[bytes], path: str, image: Any) -> dict[str, Any]:
    """Single images alone; beside fifty clients that send a byte every 0.1 s; beside large batches."""
    loads = {}

    async def measure(name: str) -> None:
        load = Load(5_000)
        await load.run(server.port, requests)
        assert not load.failures
        loads[name] = percentiles(load.seconds)

    await measure("alone")
    ended = asyncio.Event()

    async def send_slowly() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for octet in requests[0]:
            if ended.is_set():
                break
            writer.write(bytes([octet]))
            await asyncio.sleep(0.1)
        writer.close()

    slow = [asyncio.create_task(send_slowly()) for _ in range(50)]
    await measure("beside 50 slow clients")
    ended.set()
    await asyncio.gather(*slow)
    batches = Load(10**9)
    large = [request(path, {"instances": [image] * 256})]
    running = asyncio.create_task(batches.run(server.port, large, 1))
    await measure("beside batches of 256")
    batches._count = 0
    await running
    return loads


async def bench(run: Path, data: str, folder: Path) -> dict[str, Any]:
    """Returns all figures."""
    file = convert_run(run, folder)
    images = [image.tolist() for image in load_data(data).test.features[:200]]
    path = f"/v1/models/{file.stem}:predict"
    requests = [request(path, {"instances": [image]}) for image in images]
    results: dict[str, Any] = {}
    with Server(str(file)) as server:
        results["throughput"] = await bench_throughput(server, requests)
        results["malformed"] = await bench_malformed(server, path, images[0])
        results["slow"] = await bench_slow(server, requests, path, images[0])
    base = folder / "swapped"
    (base / "1").mkdir(parents=True)
    shutil.copy(file, base / "1")
    swapped = [request(f"/v1/models/{base.name}:predict", {"instances": [image]}) for image in images]
    results["swaps"] = await bench_swaps(base, [base / "1"], swapped)
    return results


def main() -> None:
    """Measures, prints the figures and writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        machine = describe_machine("uvicorn", "uvloop", "httptools", "orjson", "ai-edge-litert")
        figures = {"machine": machine, **uvloop.run(bench(args.run, args.data, Path(folder)))}
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
