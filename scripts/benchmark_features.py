"""Compare the speed of building and reading features with the stock way, in one run.

    python scripts/benchmark_features.py                        # clips of synthesized music
    python scripts/benchmark_features.py --data_dir DIR         # 3 s clips cut from the recordings in DIR
    python scripts/benchmark_features.py --clock cpu            # on a machine with other load
    python scripts/benchmark_features.py --stream USER/NAME     # only: how fast a feature dataset on the Hub streams
    python scripts/benchmark_features.py --beside CHECKOUT      # only: this version and another one, in turns

Both turn the same 3 s clips (44.1 kHz, stereo, 16 bits, WAV) into features on disk, with the same number of processes,
each on one core. The stock way is `datasets.map` with ASTFeatureExtractor as in the audio-classification example of
transformers: decode, resample both channels, average them, extract clip by clip, write nested lists. It pads 3 s to the
1,024 frames of the extractor of MIT/ast-finetuned-audioset-10-10-0.4593. "stock, cut" is the same with max_length set
to the window length, which few users know to do.

They take turns, and every figure is the median over turns. A line that starts with `ratio` is a comparison, with its
goal.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per process, for all variants

import datasets
import numpy as np
import soundfile
import soxr
import torch
from _measuring import (
    BATCH,
    CLIP_S,
    CLOCKS,
    FILE_RATE,
    HUB_SERVER,
    RATE,
    folder_bytes,
    machine,
    report,
    turns,
    write_clips,
)
from torch.utils.data import DataLoader
from transformers import ASTFeatureExtractor

from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.loading.streaming import StreamedBatches, StreamedWindows
from hf_audio.data.recordings.audio import read_audio
from hf_audio.gray_images import decode_features, encode_features
from hf_audio.kinds._kaldi_fbank import KaldiFbank


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="recordings to cut the clips from; default: synthesized clips")
    parser.add_argument("--num_clips", type=int, default=400, help="clips of 3 s (default: %(default)s)")
    parser.add_argument("--num_processes", type=int, default=1, help="processes per variant (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each variant (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: CPU time, only with one process")
    parser.add_argument("--stream", metavar="REPO", help="only measure streaming of this Hub dataset (HF_ENDPOINT)")
    parser.add_argument("--beside", type=Path, help="checkout of another version: only build and read with both")
    parser.add_argument("--kinds", nargs="+", default=["fbank", "spectrogram", "waveform"], help="with --beside")
    options = parser.parse_args()
    if options.clock == "cpu" and options.num_processes > 1:
        parser.error("--clock cpu measures only this process: use it with --num_processes 1")
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    if options.stream:
        print(json.dumps(streaming_rates(options.stream, options.repeats)))
        return
    with tempfile.TemporaryDirectory() as folder:
        (compare_versions if options.beside else compare)(Path(folder), options)


def compare_versions(folder: Path, options: argparse.Namespace) -> None:
    """CPU time of this version and another one, each in its own process, in which the libraries are loaded."""
    paths = write_clips(folder / "clips", options.num_clips, options.data_dir)
    for place, path in enumerate(paths):  # two classes
        (folder / "wav" / "ab"[place % 2]).mkdir(exist_ok=True, parents=True)
        path.rename(folder / "wav" / "ab"[place % 2] / path.name)
    print(f"{len(paths)} clips of {CLIP_S:g} s, one process each, {options.repeats} turns, cpu time, {machine()}\n")
    versions = {"this": Path(__file__).resolve().parents[1], "other": options.beside.resolve()}
    children = {name: version_process(checkout, folder / "wav", folder / name) for name, checkout in versions.items()}
    print(f"{'clips or windows/s':24}{'this':>10}{'other':>10}")
    for kind in options.kinds:
        for what in ("build", "read"):
            found: dict[str, list[float]] = {name: [] for name in children}
            for turn in range(1 + options.repeats):  # the first loads libraries
                for name, child in children.items():
                    rate = ask(child, f"{what} {kind}")
                    found[name] += [rate] if turn else []
            rates = {name: statistics.median(rates) for name, rates in found.items()}
            print(f"{what + ' ' + kind:24}{rates['this']:10.0f}{rates['other']:10.0f}", flush=True)
            report(f"{what} {kind}, this / other", rates["this"] / rates["other"], "at least 1")
    for child in children.values():
        child.stdin.close()
        child.wait()


def version_process(checkout: Path, recordings: Path, folder: Path) -> subprocess.Popen:
    """A process that builds and reads with the version in `checkout`, see _feature_speed.py."""
    command = [sys.executable, str(Path(__file__).with_name("_feature_speed.py")), str(recordings), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(checkout), "HF_HOME": str(folder / "hf_home")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def ask(child: subprocess.Popen, question: str) -> float:
    """Clips or windows per second of a version, from its answer; other output is ignored."""
    child.stdin.write(question + "\n")
    child.stdin.flush()
    for line in child.stdout:
        if line.startswith("done "):
            return int(line.split()[1]) / float(line.split()[2])
    sys.exit(f"error: {child.args} ended at {question!r}")


def compare(folder: Path, options: argparse.Namespace) -> None:
    """All measurements and their report."""
    paths = write_clips(folder / "wav", options.num_clips, options.data_dir)
    count, processes, clock = len(paths), options.num_processes, options.clock
    print(
        f"{count} clips of {CLIP_S:g} s, {processes} process(es), {options.repeats} turns, {clock} time, {machine()}\n"
    )

    window = KaldiFbank().window_frames(CLIP_S)
    builders = {
        "stock": lambda: stock_build(paths, folder / "stock", processes, 1024),
        "stock, cut": lambda: stock_build(paths, folder / "stock, cut", processes, window),
        "ours": lambda: our_build(paths, folder / "ours", processes),
    }
    built = turns(builders, options.repeats, clock)
    print_stages(paths, {name: seconds * processes / count for name, seconds in built.items()}, clock)
    readers = {
        "stock": lambda: stock_read(folder / "stock", count),
        "stock, cut": lambda: stock_read(folder / "stock, cut", count),
        "ours": our_reader(folder / "ours", count),
    }
    read = turns(readers, options.repeats, clock)
    size = {name: folder_bytes(folder / name) for name in (*builders, "wav")}

    print(f"\n{'':20}{'built, clips/s':>16}{'read, windows/s':>18}{'bytes per clip':>16}")
    for name in builders:
        print(f"{name:20}{count / built[name]:16.0f}{count / read[name]:18.0f}{size[name] / count:16.0f}")
    print(f"{'the WAV files':20}{size['wav'] / count:50.0f}")
    largest, typical = storage_error(paths)
    print(f"8-bit storage is off by at most {largest:.4f}, RMS {typical:.4f} (natural logarithm of energy)\n")
    for other in ("stock", "stock, cut"):
        report(f"build throughput, ours / {other}", built[other] / built["ours"], "at least 2")
    report("times real time per core, ours", count * CLIP_S / built["ours"] / processes, "at least 800")
    report("reading rate, ours / stock", read["stock"] / read["ours"], "at least 10")
    report("reading rate, ours / stock, cut", read["stock, cut"] / read["ours"])
    report("bytes, ours / WAV", size["ours"] / size["wav"], "at most 0.1")
    if HUB_SERVER.exists():
        for order, rate in stream_from_own_hub(folder, options.repeats).items():
            report(f"streamed windows per second, {order}", rate, "at least 1000")
    else:
        print("streaming was not measured: tests/hub_server.py, the Hub on 127.0.0.1, is missing")


def stock_build(paths: list[Path], folder: Path, processes: int, max_length: int) -> None:
    """The stock way. As in `datasets.Audio`, every channel is resampled before their mean is computed."""
    extractor = ASTFeatureExtractor(max_length=max_length)

    def transform(batch: dict) -> dict:
        files = (soundfile.read(path, dtype="float32") for path in batch["audio"])
        waveforms = [soxr.resample(samples, file_rate, RATE).T.mean(axis=0) for samples, file_rate in files]
        inputs = extractor(waveforms, sampling_rate=extractor.sampling_rate)
        return {"input_values": inputs["input_values"], "labels": batch["label"]}

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = datasets.Dataset.from_dict({"audio": [str(path) for path in paths], "label": [0] * len(paths)})
    rows.map(
        transform,
        batched=True,
        batch_size=100,
        num_proc=processes if processes > 1 else None,
        remove_columns=["audio", "label"],
        load_from_cache_file=False,
        cache_file_name=str(folder / "features.arrow"),
    )


def stock_read(folder: Path, count: int) -> None:
    rows = datasets.concatenate_datasets([datasets.Dataset.from_file(str(path)) for path in folder.glob("*.arrow")])
    for first in range(0, count, BATCH):
        np.asarray(rows[first : first + BATCH]["input_values"], dtype=np.float32)


def our_build(paths: list[Path], folder: Path, processes: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    clips = index_of(Clip(path, ("ab"[i % 2],), str(i), path.name, split="train") for i, path in enumerate(paths))
    options = {"window_s": CLIP_S, "hop_s": CLIP_S, "card": CorpusCard("benchmark", "none", True)}
    build_features(clips, LabelSpace.of_clips(clips), folder, KaldiFbank(), num_workers=processes, **options)


def our_reader(folder: Path, count: int) -> Callable[[], None]:
    features = load_features(folder)
    rows, collate = features.splits["train"], FeatureCollator(features.extractor, features.labels)

    def read() -> None:
        for first in range(0, count, BATCH):
            collate(rows.__getitems__(list(range(first, min(first + BATCH, count)))))

    return read


def print_stages(paths: list[Path], s_per_clip: dict[str, float], clock: str) -> None:
    """The time per clip by step, in milliseconds of one process; writing is the rest of the total time."""
    paths = paths[:100]
    fbank, stock = KaldiFbank(), ASTFeatureExtractor(max_length=1024)
    stereo = [soundfile.read(path, dtype="float32")[0] for path in paths]
    mono = [read_audio(path, FILE_RATE) for path in paths]
    waves = [soxr.resample(samples, FILE_RATE, RATE) for samples in mono]
    frames = [features.numpy() for features in fbank([torch.from_numpy(wave) for wave in waves])]
    steps = {
        "ours": {
            "decode": lambda: [read_audio(path, FILE_RATE) for path in paths],
            "resample": lambda: [soxr.resample(samples, FILE_RATE, RATE) for samples in mono],
            "feature": lambda: fbank([torch.from_numpy(wave) for wave in waves]),
            "encode": lambda: [encode_features(features) for features in frames],
        },
        "stock": {
            "decode": lambda: [soundfile.read(path, dtype="float32") for path in paths],
            "resample": lambda: [soxr.resample(samples, FILE_RATE, RATE).T.mean(axis=0) for samples in stereo],
            "feature": lambda: stock(waves, sampling_rate=RATE),
            "encode": lambda: None,
        },
    }
    print(f"{'ms per clip':20}" + "".join(f"{step:>10}" for step in (*steps["ours"], "write", "all")))
    for name, ways in steps.items():
        spent = [1000 * seconds / len(paths) for seconds in turns(ways, 5, clock).values()]
        whole = 1000 * s_per_clip[name]
        print(f"{name:20}" + "".join(f"{value:10.2f}" for value in (*spent, max(0.0, whole - sum(spent)), whole)))


def storage_error(paths: list[Path]) -> tuple[float, float]:
    """Maximum and root mean square difference between stored and exact features."""
    errors = []
    for exact in KaldiFbank()([torch.from_numpy(read_audio(path, RATE)) for path in paths[:100]]):
        errors.append(decode_features(*encode_features(exact.numpy())) - exact.numpy())
    together = np.concatenate(errors)
    return float(np.abs(together).max()), float(np.sqrt(np.mean(together**2)))


def stream_from_own_hub(folder: Path, repeats: int) -> dict[str, float]:
    """Pushes the features to a Hub on 127.0.0.1, which this process serves, and streams them in another process."""
    sys.path.insert(0, str(HUB_SERVER.parent))
    from hub_server import Hub

    hub = Hub.start(folder / "hub")
    built = folder / "ours"
    files = {str(path.relative_to(built)): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    hub.create("datasets", "alice/benchmark", files)
    # the Hugging Face libraries read these when they are imported
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf_home"), "NO_PROXY": "127.0.0.1,localhost"}
    command = [sys.executable, __file__, "--stream", "alice/benchmark", "--repeats", str(repeats)]
    answer = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    hub.stop()
    return json.loads(answer.stdout.splitlines()[-1])


def streaming_rates(repo: str, repeats: int) -> dict[str, float]:
    """Windows per second from the Hub to normalized float32 batches, in this process; always in wall-clock time."""
    features = load_features(repo, streaming=True)
    collate = FeatureCollator(features.extractor, features.labels)
    stream = features.splits["train"]

    windows = StreamedWindows(features.streamed, BATCH)

    def read_shuffled() -> None:
        for _ in DataLoader(windows, batch_sampler=StreamedBatches(windows), collate_fn=collate):
            pass

    def read(rows: Iterable[dict]) -> None:
        batch = []
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH:
                collate(batch)
                batch = []

    seconds = turns({"in order": lambda: read(stream), "shuffled": read_shuffled}, repeats)
    return {order: features.num_windows("train") / spent for order, spent in seconds.items()}


if __name__ == "__main__":
    main()
