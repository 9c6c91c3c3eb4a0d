"""Compare the cost of pushing recordings as a dataset with the stock way, in one run.

    python scripts/benchmark_sharing.py                     # 800 clips of synthesized music
    python scripts/benchmark_sharing.py --data_dir DIR      # 3 s clips cut from the recordings in DIR

The clips (44.1 kHz, stereo, 16 bits, WAV, in class folders) are pushed to a Hub on 127.0.0.1. The stock way is
`Dataset.from_dict` of their paths and `push_to_hub`, which uploads the files without decoding them. Each variant is a
separate process with an empty cache. CPU time counts only that process after its imports. Disk space is the size of
files other than the recordings.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by its processes

from _measuring import HUB_SERVER, folder_bytes, machine, write_clips

WAYS = ("stock", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="recordings to cut the clips from; default: synthesized clips")
    parser.add_argument("--num_clips", type=int, default=800, help="clips of 3 s (default: %(default)s)")
    parser.add_argument("--way", nargs=2, metavar=("WAY", "CLIPS"), help="only one variant (HF_ENDPOINT)")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(one_way(options.way[0], Path(options.way[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    sys.path.insert(0, str(HUB_SERVER.parent))
    from hub_server import Hub

    paths = write_clips(folder / "wav", options.num_clips, options.data_dir)
    source = sum(path.stat().st_size for path in paths)
    for number, path in enumerate(paths):
        (folder / "wav" / f"class{number % 8}").mkdir(exist_ok=True)
        path.rename(folder / "wav" / f"class{number % 8}" / path.name)
    print(f"{machine()}\n{len(paths)} WAV files, {source / 1e6:.0f} MB\n")
    print("|  | CPU s | seconds | MB uploaded | peak disk, MB | memory, MB |\n|---|---:|---:|---:|---:|---:|")
    hub = Hub.start(folder / "hub")
    for way in WAYS:
        hub.log.clear()
        work = folder / way
        work.mkdir()
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(work / "hf_home"), "NO_PROXY": "127.0.0.1,localhost"}
        environment |= {"HF_TOKEN": hub.token("alice"), "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, str(Path(__file__).resolve()), "--way", way, str(folder / "wav")]
        answer = subprocess.run(command, env=os.environ | environment, cwd=work, check=True, stdout=subprocess.PIPE)
        found = json.loads(answer.stdout.splitlines()[-1])
        sent = hub.log.bytes_received("PUT") / 1e6
        print(f"| {way} | {found['cpu_s']:.1f} | {found['wall_s']:.1f} | {sent:.0f} ", end="")
        print(f"| {found['disk_mb']:.0f} | {found['memory_mb']:.0f} |", flush=True)
    hub.stop()


def one_way(way: str, clips: Path) -> dict[str, float]:
    """The cost of pushing the clips from this process."""
    import datasets

    import hf_audio
    import hf_audio.publishing.corpus  # imported before the clock starts

    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.1):
            with contextlib.suppress(FileNotFoundError):  # removed while they are counted
                most = max(most, folder_bytes(Path.cwd()))

    threading.Thread(target=watch, daemon=True).start()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    if way == "stock":
        paths = sorted(clips.rglob("*.wav"))
        files = [{"bytes": None, "path": str(path)} for path in paths]
        rows = datasets.Dataset.from_dict({"audio": files, "label": [path.parent.name for path in paths]})
        rows = rows.cast_column("audio", datasets.Audio(decode=False)).class_encode_column("label")
        rows.push_to_hub("alice/stock")
    else:
        sharing = hf_audio.ShareConfig(hub_dataset_id="alice/ours", license="cc0-1.0")
        hf_audio.share_corpus(hf_audio.CorpusConfig(data_dir=str(clips)), sharing)
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    done.set()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"cpu_s": cpu_s, "wall_s": wall_s, "disk_mb": most / 1e6, "memory_mb": memory}


if __name__ == "__main__":
    main()
