"""How fast features are built and read, side by side with the stock way, in one run on this machine.

    python scripts/benchmark_features.py                        # clips of synthesised music
    python scripts/benchmark_features.py --data_dir DIR         # 3 s clips cut from the recordings in DIR
    python scripts/benchmark_features.py --stream USER/NAME     # only: how fast a feature dataset on the Hub streams

Both ways turn the same 3 s clips of 44.1 kHz stereo 16-bit WAV into features on disk, with as many processes, each on
one core. The stock way is `datasets.map` with ASTFeatureExtractor as the audio-classification example of transformers
uses it: decode, resample both channels, average them, extract clip by clip, write nested lists. It pads 3 s to the
1,024 frames that the extractor of MIT/ast-finetuned-audioset-10-10-0.4593 asks for; "stock, cut" is the same with
max_length set to the window, which few users know to do.

The ways take turns, and every figure is the median of the turns. A line that begins with `ratio` is a comparison, with
the figure it is meant to reach.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process is a core, for both ways

import datasets
import numpy as np
import soundfile
import soxr
import torch
from transformers import ASTFeatureExtractor

from hf_audio.data.audio import AudioError, read_audio
from hf_audio.data.feature_building import build_features
from hf_audio.data.feature_storage import decode_features, encode_features
from hf_audio.data.features_dataset import FeatureCollator, load_features
from hf_audio.data.index import Clip, CorpusCard
from hf_audio.data.labels import LabelSpace
from hf_audio.features.fbank import KaldiFbank

CLIP_S, FILE_RATE = 3.0, 44_100
BATCH = 32
HUB_SERVER = Path(__file__).resolve().parents[1] / "tests" / "hub_server.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="recordings to cut the clips from; without it they are made up")
    parser.add_argument("--num_clips", type=int, default=400, help="clips of 3 s (default: %(default)s)")
    parser.add_argument("--num_processes", type=int, default=1, help="processes of each way (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way (default: %(default)s)")
    parser.add_argument("--work_dir", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--stream", metavar="REPO", help="measure streaming of this Hub dataset (HF_ENDPOINT) and stop")
    options = parser.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    if options.stream:
        print(json.dumps(streaming_rates(options.stream, options.repeats)))
        return
    with tempfile.TemporaryDirectory(dir=options.work_dir) as folder:
        compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """All measurements and their report."""
    paths = write_clips(folder / "wav", options.num_clips, options.data_dir)
    count, processes = len(paths), options.num_processes
    print(
        f"{count} clips of {CLIP_S:g} s, {processes} process(es) a way, {options.repeats} turns each, on {machine()}\n"
    )

    window = KaldiFbank().window_frames(CLIP_S)
    ways = {
        "stock": lambda: stock_build(paths, folder / "stock", processes, 1024),
        "stock, cut": lambda: stock_build(paths, folder / "stock_cut", processes, window),
        "ours": lambda: our_build(paths, folder / "ours", processes),
    }
    built = turns(ways, options.repeats)
    print_stages(paths, {name: seconds / count for name, seconds in built.items()}, processes)

    readers = {
        "stock": lambda: stock_read(folder / "stock", count),
        "stock, cut": lambda: stock_read(folder / "stock_cut", count),
        "ours": our_reader(folder / "ours", count),
    }
    read = turns(readers, options.repeats)
    wav_bytes = sum(path.stat().st_size for path in paths)
    sizes = {name: folder_bytes(folder / name.replace(", ", "_")) for name in ways}
    print(f"\n{'':24}{'built, clips/s':>16}{'read, windows/s':>18}{'bytes a clip':>14}")
    for name in ways:
        print(f"{name:24}{count / built[name]:16.0f}{count / read[name]:18.0f}{sizes[name] / count:14.0f}")
    print(f"{'the WAV files':24}{'':16}{'':18}{wav_bytes / count:14.0f}")
    largest, typical = storage_error(paths)
    print(f"8-bit storage is off by {largest:.4f} at most and {typical:.4f} typically (natural logarithm of energy)\n")

    for other in ("stock", "stock, cut"):
        report(f"build throughput, ours / {other}", built[other] / built["ours"], 2, "at least")
    report("times real time a core, ours", count * CLIP_S / built["ours"] / processes, 800, "at least")
    for other in ("stock", "stock, cut"):
        report(f"reading rate, ours / {other}", read[other] / read["ours"], 10, "at least" if other == "stock" else "")
    report("bytes, ours / WAV", sizes["ours"] / wav_bytes, 0.1, "at most")
    if HUB_SERVER.exists():
        for order, rate in stream_from_own_hub(folder, options.repeats).items():
            report(f"streamed windows a second, {order}", rate, 1000, "at least")
    else:
        print("streaming was not measured: tests/hub_server.py, a Hub on 127.0.0.1, is not here")


def report(what: str, value: float, target: float, relation: str) -> None:
    wanted = f"(meant: {relation} {target:g})" if relation else ""
    print(f"ratio  {what:45} {value:10.3f}  {wanted}")


def turns(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, the ways taking turns so that a busy moment of the machine hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


# The stock way


def stock_waveform(path: Path) -> np.ndarray:
    """As `datasets.Audio(sampling_rate=16000)` decodes: every channel resampled, then the mean of the channels."""
    samples, file_rate = soundfile.read(path, dtype="float32")
    return soxr.resample(samples, file_rate, 16_000).T.mean(axis=0)


def stock_build(paths: list[Path], folder: Path, processes: int, max_length: int) -> None:
    extractor = ASTFeatureExtractor(max_length=max_length)

    def transform(batch: dict) -> dict:
        waveforms = [stock_waveform(path) for path in batch["audio"]]
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
    files = sorted(str(path) for path in folder.glob("*.arrow"))
    rows = datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in files])
    for first in range(0, count, BATCH):
        np.asarray(rows[first : first + BATCH]["input_values"], dtype=np.float32)


# Ours


def our_build(paths: list[Path], folder: Path, processes: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    clips = [Clip(path, ("ab"[i % 2],), str(i), path.name, split="train") for i, path in enumerate(paths)]
    card = CorpusCard("benchmark", "none", True)
    labels = LabelSpace.of_clips(clips)
    build_features(clips, labels, folder, KaldiFbank(), window_s=CLIP_S, hop_s=CLIP_S, card=card, num_workers=processes)


def our_reader(folder: Path, count: int) -> Callable[[], None]:
    features = load_features(folder)
    rows, collate = features.splits["train"], FeatureCollator(features.extractor, features.labels)

    def read() -> None:
        for first in range(0, count, BATCH):
            collate(rows.__getitems__(list(range(first, min(first + BATCH, count)))))

    return read


def storage_error(paths: list[Path]) -> tuple[float, float]:
    """Largest and root mean square difference of stored features from exact ones."""
    errors = []
    for path in paths[:100]:
        exact = KaldiFbank()([torch.from_numpy(read_audio(path, 16_000))])[0].numpy()
        errors.append(decode_features(*encode_features(exact)) - exact)
    together = np.concatenate([error.ravel() for error in errors])
    return float(np.abs(together).max()), float(np.sqrt(np.mean(together**2)))


def print_stages(paths: list[Path], a_clip: dict[str, float], processes: int) -> None:
    """Where the time of one clip goes, in milliseconds of one process."""
    fbank, stock = KaldiFbank(), ASTFeatureExtractor(max_length=1024)
    both = [soundfile.read(path, dtype="float32")[0] for path in paths[:100]]
    mono = [read_audio(path, FILE_RATE) for path in paths[:100]]
    waves = [soxr.resample(samples, FILE_RATE, 16_000) for samples in mono]
    tensors = [torch.from_numpy(wave) for wave in waves]
    frames = [features.numpy() for features in fbank(tensors)]
    steps = {
        "ours": {
            "decode": lambda: [read_audio(path, FILE_RATE) for path in paths[:100]],
            "resample": lambda: [soxr.resample(samples, FILE_RATE, 16_000) for samples in mono],
            "feature": lambda: fbank(tensors),
            "encode": lambda: [encode_features(features) for features in frames],
        },
        "stock": {
            "decode": lambda: [soundfile.read(path, dtype="float32") for path in paths[:100]],
            "resample": lambda: [soxr.resample(samples, FILE_RATE, 16_000).T.mean(axis=0) for samples in both],
            "feature": lambda: stock(waves, sampling_rate=16_000),
            "encode": lambda: None,
        },
    }
    print(f"{'ms a clip':24}{'decode':>10}{'resample':>10}{'feature':>10}{'encode':>10}{'write':>10}{'all':>10}")
    for name, ways in steps.items():
        spent = [1000 * seconds / len(mono) for seconds in turns(ways, 5).values()]
        whole = 1000 * a_clip[name] * processes
        print(f"{name:24}" + "".join(f"{value:10.2f}" for value in (*spent, max(0.0, whole - sum(spent)), whole)))


# Streaming


def stream_from_own_hub(folder: Path, repeats: int) -> dict[str, float]:
    """Push what was built to a Hub on 127.0.0.1 and stream it from there, each in a process of its own."""
    command = [sys.executable, str(HUB_SERVER), str(folder / "hub")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        addresses = json.loads(server.stdout.readline())
        # the Hugging Face libraries read these when they are imported
        environment = os.environ | {
            "HF_ENDPOINT": addresses["endpoint"],
            "HF_TOKEN": addresses["tokens"]["alice"],
            "HF_HOME": str(folder / "hf_home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        upload = (
            "import sys; from huggingface_hub import HfApi; api = HfApi(); "
            "api.create_repo('alice/benchmark', repo_type='dataset'); "
            "api.upload_folder(repo_id='alice/benchmark', repo_type='dataset', folder_path=sys.argv[1])"
        )
        subprocess.run([sys.executable, "-c", upload, str(folder / "ours")], env=environment, check=True)
        command = [sys.executable, __file__, "--stream", "alice/benchmark", "--repeats", str(repeats)]
        answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(answer.stdout.splitlines()[-1])
    finally:
        server.stdin.close()
        server.wait(timeout=30)


def streaming_rates(repo: str, repeats: int) -> dict[str, float]:
    """Windows a second from the Hub to normalised float32 batches, in this process."""
    features = load_features(repo, streaming=True)
    collate = FeatureCollator(features.extractor, features.labels)
    stream = features.splits["train"]
    count = features.num_windows("train")

    def read(rows: Iterable[dict]) -> None:
        batch = []
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH:
                collate(batch)
                batch = []

    shuffled = stream.shuffle(seed=0, buffer_size=1000, max_buffer_input_shards=1)
    seconds = turns({"in order": lambda: read(stream), "shuffled": lambda: read(shuffled)}, repeats)
    return {order: count / spent for order, spent in seconds.items()}


# The clips


def write_clips(folder: Path, count: int, data_dir: Path | None) -> list[Path]:
    """3 s WAV files, 44.1 kHz, stereo, 16 bits: cut from recordings, or made up."""
    folder.mkdir()
    sources = sorted(path for path in data_dir.rglob("*") if path.is_file()) if data_dir else []
    pieces = recorded_pieces(sources, count) if data_dir else made_up_pieces(count)
    paths = []
    for mono in pieces:
        right = 0.8 * np.roll(mono, 20) + 0.001 * np.random.default_rng(len(paths)).standard_normal(len(mono))
        path = folder / f"{len(paths):05d}.wav"
        soundfile.write(path, np.stack([mono, right], axis=1).clip(-1, 1), FILE_RATE, subtype="PCM_16")
        paths.append(path)
        if len(paths) == count:
            break
    if not paths:
        sys.exit(f"error: no audio file was found in {data_dir}")
    return paths


def recorded_pieces(sources: list[Path], count: int) -> Iterable[np.ndarray]:
    """Recordings cut to 3 s, spread over the folder; shorter ones are repeated."""
    for path in sources[:: max(1, len(sources) // count)] + sources:
        try:
            yield np.resize(read_audio(path, FILE_RATE), int(CLIP_S * FILE_RATE))
        except AudioError:
            continue


def made_up_pieces(count: int) -> Iterable[np.ndarray]:
    """Chords of decaying harmonic tones over a little noise: as compressible as music, unlike noise or a sine."""
    times = np.arange(int(CLIP_S * FILE_RATE)) / FILE_RATE
    for seed in range(count):
        rng = np.random.default_rng(seed)
        mono = 0.003 * rng.standard_normal(len(times))
        for _ in range(6):
            pitch_hz = 55.0 * 2 ** (rng.integers(0, 48) / 12)
            after = np.maximum(times - rng.uniform(0, 0.8 * CLIP_S), 0.0)
            envelope = np.minimum(after / 0.01, 1.0) * np.exp(-after * rng.uniform(1, 4))
            vibrato = 0.1 * np.sin(2 * np.pi * rng.uniform(4, 7) * times)
            for harmonic in range(1, min(20, int(15_000 / pitch_hz))):
                tone = np.sin(2 * np.pi * pitch_hz * harmonic * times + harmonic * vibrato)
                mono += 0.1 * harmonic**-1.2 * envelope**harmonic**0.3 * tone
        yield mono


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def machine() -> str:
    names = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{names[0].strip() if names else 'an unknown CPU'}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
