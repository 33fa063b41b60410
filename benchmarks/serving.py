"""The example server of a model of a table under load: latency and rows a second.

``python -m benchmarks.serving [--seconds S]``. A server, ``examples/serve_table.py``, in a process
of its own; clients in another, each with one connection that it keeps, each asking again as soon as
it is answered. The table has two numbers, two categories and a date.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from benchmarks.measure import ROOT

CASES = ((1, 1), (1, 4), (100, 1), (100, 4), (1000, 1), (10_000, 1))  # rows, clients


def rows(n: int) -> list[dict[str, Any]]:
    """Return rows of flats, with their price."""
    draw = random.Random(0)
    towns = {"Aachen": 2100, "Bonn": 3400, "Celle": 1800}
    made = []
    for _ in range(n):
        area, town = round(draw.uniform(25, 140), 1), draw.choice(list(towns))
        balcony, year = draw.choice(["yes", "no"]), draw.randint(1950, 2023)
        price = round(area * towns[town] * (1 + (year - 1985) / 150))
        made.append({
            "area": area, "rooms": 1 + int(area // 28), "town": town, "balcony": balcony,
            "built": f"{year}-05-15", "price": price,
        })  # fmt: skip
    return made


def trained(folder: Path) -> Path:
    """Train a model on 600 flats, as people do, and return its file."""
    table = rows(600)
    with (folder / "flats.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    command = [sys.executable, "-m", "chainrule", "train", "flats.csv", "--target", "price",
               "--recipe", "plain", "--epochs", "20", "--out", "flats.model"]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "flats.model"


def ask(port: int, body: bytes, seconds: float, times: list[float]) -> None:
    """Ask for predictions until the time is up; keep how long each answer took."""
    connection = HTTPConnection("127.0.0.1", port)
    ends = time.perf_counter() + seconds
    while (start := time.perf_counter()) < ends:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        times.append(time.perf_counter() - start)
        if answer.status != 200:
            raise RuntimeError(content.decode())
    connection.close()


def measure(port: int, n: int, clients: int, seconds: float) -> str:
    """Return a row of the table for requests of n rows by so many clients."""
    given = [{k: v for k, v in row.items() if k != "price"} for row in rows(n)]
    body = json.dumps({"rows": given}).encode()
    ask(port, body, 0.5, [])
    times: list[float] = []
    threads = [Thread(target=ask, args=(port, body, seconds, times)) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    middle, late = np.quantile(times, [0.5, 0.99]) * 1e3
    each = f"{len(times) / wall:,.0f} | {n * len(times) / wall:,.0f}"
    return f"| {n:,} | {clients} | {middle:.1f} | {late:.1f} | {each} |"


def main() -> None:
    """Start the server, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        model = trained(Path(folder))
        example = str(ROOT / "examples" / "serve_table.py")
        command = [sys.executable, example, str(model), "--port", str(port)]
        server = subprocess.Popen(command)
        try:
            while server.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)
            print("| Rows | Clients | median, ms | p99, ms | requests/s | rows/s |")
            print("|---|---|---|---|---|---|")
            for n, clients in CASES:
                print(measure(port, n, clients, given.seconds), flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
