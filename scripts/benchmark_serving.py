"""Measure the speed of `hf-audio serve`, with and without batches of several requests, in one run.

    python scripts/benchmark_serving.py                      # cnn, recordings of 3 s
    python scripts/benchmark_serving.py --model ast-mini --seconds 20
    python scripts/benchmark_serving.py --load_minutes 10    # only: errors and memory under load
    python scripts/benchmark_serving.py --windows            # only: the cost of a window by batch size

Three services take turns: with default settings, with --no_batching, and with --no_batching --workers 1, which
processes requests one after another on all cores, like a service without a batcher. Requests come

    from 1 client and from 16, each of which sends the next request after its answer;
    random times (Poisson arrivals), at the maximum rate of the second service, and at half the rate of the first: new
    requests do not wait for earlier ones, as with many independent clients.

The clients are a separate process on the same cores. Figures are medians over turns: answers per second of time,
answers per second of the service's CPU time, which other load on the machine affects less, and the 99th percentile of
the response time. A line that starts with `ratio` is a comparison. Presets have random weights, which are as fast as
trained ones.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by its processes
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as hf-audio does, for --windows

import numpy as np
import psutil
import soundfile
import torch
from _measuring import machine
from benchmark_tagging import FILE_RATE, saved_model

from hf_audio.environment import usable_cores
from hf_audio.tagging.loading import load as load_model

COMMAND = [sys.executable, "-c", "from hf_audio.commands.main import main; main()", "serve", "--port", "0"]
CLIENTS = (1, 16)
OPEN_CLIENTS = 48  # parallel requests at random times: fewer than --max_requests
BATCHED, UNBATCHED, ONE_BY_ONE = "batched", "unbatched", "one by one"
FLAGS = {BATCHED: (), UNBATCHED: ("--no_batching",), ONE_BY_ONE: ("--no_batching", "--workers", "1")}
WARM_UP_S = 3.0
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MEMORY_EVERY_S = 5.0
WARM_UP_SHARE = 0.2  # of a long load, before memory is measured


class Turn(NamedTuple):
    """Measurements of clients and a service."""

    rate: float
    rate_per_cpu_s: float
    median_s: float
    p99_s: float
    num_errors: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cnn", help="a preset, a folder or a Hub name (default: %(default)s)")
    parser.add_argument(
        "--duration_s", type=float, default=3.0, help="duration of the recording in seconds (default: %(default)g)"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="seconds of each round (default: %(default)g)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each variant (default: %(default)s)")
    parser.add_argument("--load_minutes", type=float, help="instead, a load of 16 clients for this long")
    parser.add_argument("--windows", action="store_true", help="instead, features and forward pass of batches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = write_recording(Path(folder), options.duration_s)
        model = saved_model(options.model, Path(folder) / "model")
        if options.windows:
            measure_windows(model, options.duration_s)
        elif options.load_minutes:
            with service(model) as (process, address):
                measure_load(process, address, recording, 60 * options.load_minutes)
        else:
            with contextlib.ExitStack() as stack:
                services = {name: stack.enter_context(service(model, *flags)) for name, flags in FLAGS.items()}
                print(f"{options.model}, recordings of {options.duration_s:g} s, {machine()}\n")
                compare(services, recording, options.seconds, options.repeats)


def write_recording(folder: Path, duration_s: float) -> Path:
    """Noise, 44.1 kHz stereo."""
    sound = 0.1 * np.random.default_rng(0).normal(size=(round(duration_s * FILE_RATE), 2))
    soundfile.write(folder / "recording.wav", sound, FILE_RATE)
    return folder / "recording.wav"


@contextlib.contextmanager
def service(model: str, *flags: str) -> Iterator[tuple[psutil.Process, tuple[str, str]]]:
    """A serving process, and its address."""
    places = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([*COMMAND, "--model", f"model={model}", *flags], stderr=log, env=environment)
        try:
            yield psutil.Process(process.pid), address_in(log, process)
        finally:
            process.terminate()
            process.wait(60)


def address_in(log, process: subprocess.Popen) -> tuple[str, str]:
    while process.poll() is None:
        log.seek(0)
        text = log.read()
        if "Serving model at http://" in text:
            host, _, port = text.partition("Serving model at http://")[2].partition('"')[0].partition(":")
            return host, port
        time.sleep(0.1)
    sys.exit(f"The service has ended: {text[-1000:]}")


def load(address: tuple[str, str], recording: Path, clients: int, seconds: float, rate: float | None = None) -> dict:
    command = clients_command(address, recording, clients, seconds, rate)
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def clients_command(
    address: tuple[str, str], recording: Path, num_clients: int, seconds: float, rate: float | None = None
) -> list[str]:
    clients = Path(__file__).with_name("_serving_clients.py")
    settings = [*address, recording, num_clients, seconds, *([rate] if rate else [])]
    return [sys.executable, *map(str, [clients, *settings])]


def compare(services: dict[str, tuple], recording: Path, seconds: float, repeats: int) -> None:
    """Prints the speed of each service with few and many clients, then at random times."""
    few, many = CLIENTS
    for _, address in services.values():
        load(address, recording, many, WARM_UP_S)
    asked = {f"{number} clients": (number, None) for number in CLIENTS}
    found = turns_of(services, asked, recording, seconds, repeats)
    rates = {name: found[name, f"{many} clients"].rate for name in services}
    at_random = {
        f"{share:.0%} of {name}'s rate": (OPEN_CLIENTS, share * rates[name])
        for name, share in ((UNBATCHED, 1.0), (BATCHED, 0.5))
    }
    found |= turns_of({name: services[name] for name in (BATCHED, UNBATCHED)}, at_random, recording, seconds, repeats)
    print_table(found)
    print_ratios(found, f"{few} clients", f"{many} clients", tuple(at_random))


def turns_of(
    services: dict[str, tuple], asked: dict[str, tuple], recording: Path, seconds: float, repeats: int
) -> dict[tuple[str, str], Turn]:
    """Medians over turns, by service and kind of requests."""
    turns: dict[tuple[str, str], list[Turn]] = {}
    for _ in range(repeats):
        for how, (clients, rate) in asked.items():
            for name, (process, address) in services.items():
                turn = one_turn(process, address, recording, clients, seconds, rate)
                turns.setdefault((name, how), []).append(turn)
    return {key: Turn(*map(statistics.median, zip(*all_turns, strict=True))) for key, all_turns in turns.items()}


def print_table(found: dict[tuple[str, str], Turn]) -> None:
    titles = f"{'answers/s':>12}{'per CPU s':>18}{'median ms':>12}{'p99 ms':>10}{'errors':>8}"
    print(f"{'':14}{'requests':>26}{titles}")
    for (name, how), turn in found.items():
        times = f"{1000 * turn.median_s:>12.1f}{1000 * turn.p99_s:>10.1f}"
        print(f"{name:14}{how:>26}{turn.rate:>12.1f}{turn.rate_per_cpu_s:>18.1f}{times}{turn.num_errors:>8.0f}")


def print_ratios(found: dict[tuple[str, str], Turn], few: str, many: str, at_random: tuple[str, ...]) -> None:
    batched, single = found[BATCHED, many], found[UNBATCHED, few]
    print()
    for name in (UNBATCHED, ONE_BY_ONE):
        other = found[name, many]
        rate, processor = batched.rate / other.rate, batched.rate_per_cpu_s / other.rate_per_cpu_s
        print(f"ratio {rate:.2f} in answers/s, {processor:.2f} per CPU s: {BATCHED} / {name}, {many}")
    for how in (many, *at_random):
        ratio = found[BATCHED, how].p99_s / single.p99_s
        print(f"ratio {ratio:.2f} in p99: {BATCHED}, {how} / {UNBATCHED}, {few}")
    mean_s = max(CLIENTS) / batched.rate
    print(
        f"\nAt this rate, {many} that send their next request at once wait {1000 * mean_s:.0f} ms on average: "
        f"{mean_s / single.median_s:.1f} times as long as one client"
    )


def one_turn(
    process: psutil.Process,
    address: tuple[str, str],
    recording: Path,
    clients: int,
    seconds: float,
    rate: float | None = None,
) -> Turn:
    before, began = process.cpu_times(), time.monotonic()
    found = load(address, recording, clients, seconds, rate)
    wall_s, after = time.monotonic() - began, process.cpu_times()
    processor_s = after.user + after.system - before.user - before.system
    answers, count = found["seconds"], len(found["seconds"])
    return Turn(
        count / min(wall_s, seconds),
        count / processor_s,
        float(np.median(answers)),
        float(np.quantile(answers, 0.99)),
        sum(found["errors"].values()),
    )


def measure_windows(model: str, duration_s: float) -> None:
    """Prints the cost of features and forward pass per window, on one core and on all, by batch size."""
    predictor = load_model(model).predictor
    sound = 0.1 * np.random.default_rng(0).normal(size=round(duration_s * predictor.sample_rate)).astype(np.float32)
    window = predictor.windows.cut(sound)[0]
    print(f"CPU ms per window, {machine()}\n\n{'windows':>8}{'one core':>12}{f'{usable_cores()} cores':>12}")
    for size in BATCH_SIZES:
        costs_ms = []
        for threads in (1, usable_cores()):
            torch.set_num_threads(threads)
            predictor.logits(predictor.inputs(size * [window]))
            times_s = []
            for _ in range(max(3, 32 // size)):
                began = time.process_time()
                predictor.logits(predictor.inputs(size * [window]))
                times_s.append(time.process_time() - began)
            costs_ms.append(1000 * statistics.median(times_s) / size)
        print(f"{size:>8}{costs_ms[0]:>12.2f}{costs_ms[1]:>12.2f}", flush=True)


def measure_load(process: psutil.Process, address: tuple[str, str], recording: Path, seconds: float) -> None:
    """Prints the answers of 16 clients, and the growth of memory after the warm-up."""
    times, memory, began = [], [], time.monotonic()
    with tempfile.TemporaryFile("w+") as answers:
        asking = subprocess.Popen(clients_command(address, recording, max(CLIENTS), seconds), stdout=answers)
        while asking.poll() is None:
            times.append(time.monotonic() - began)
            memory.append(process.memory_info().rss / 2**20)
            with contextlib.suppress(subprocess.TimeoutExpired):
                asking.wait(MEMORY_EVERY_S)
        answers.seek(0)
        found = json.load(answers)
    late = np.array(times) > WARM_UP_SHARE * seconds
    slope = np.polyfit(np.array(times)[late] / 60, np.array(memory)[late], 1)[0]
    errors = found["errors"] or "none"
    print(f"{len(found['seconds'])} answers in {seconds / 60:g} minutes, errors: {errors}, {machine()}")
    print(f"memory {memory[0]:.0f} MB at the start, {memory[-1]:.0f} MB at the end, {slope:+.2f} MB/min after warm-up")


if __name__ == "__main__":
    main()
