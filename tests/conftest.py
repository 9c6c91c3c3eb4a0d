"""Starts the tests' own Hub before any Hugging Face import, because these libraries read their environment once."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

from forks import Forks
from hub_server import Hub
from shared_folders import SharedFolders

# Garbage collection over all objects of torch and transformers would take a fifth of the time
gc.set_threshold(50_000, 20, 50)

assert "huggingface_hub" not in sys.modules, "HF_ENDPOINT must be set before huggingface_hub is imported"

_FOLDER = tempfile.TemporaryDirectory(prefix="hf_audio_tests_")
_HUB = Hub.start(Path(_FOLDER.name) / "hub")
_SHARED = SharedFolders()

for name in [name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_"))]:
    del os.environ[name]  # keep a developer's token, caches and offline switches out of the tests
os.environ.update(
    HF_ENDPOINT=_HUB.endpoint,
    HF_HOME=str(Path(_FOLDER.name) / "hf_home"),
    HF_HUB_DISABLE_XET="1",  # else every upload requests a xet token
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_UPDATE_CHECK="1",
    HF_HUB_ETAG_TIMEOUT="10",
    HF_HUB_DOWNLOAD_TIMEOUT="10",
    NO_PROXY="127.0.0.1,localhost",
    no_proxy="127.0.0.1,localhost",
    MPLBACKEND="Agg",
    TOKENIZERS_PARALLELISM="false",
)
os.environ["OMP_NUM_THREADS"] = "1"  # with such small models threads would only wait for each other
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # if a test uses threads, they sleep while waiting

import pytest  # noqa: E402 - the environment comes first

REPO_ROOT = Path(__file__).resolve().parents[1]
# Files of more than 20 s of CPU time run first
LONGEST = {
    f"test_{name}.py"
    for name in (
        *("all_recipes", "recipes", "models", "cross_validate", "distributed", "figures", "pretraining", "evaluation"),
        *("resuming_training", "feature_resuming", "general_midi", "classical_training", "push"),
    )
}
assert not [name for name in LONGEST if not (REPO_ROOT / "tests" / name).is_file()]


# One fork server serves the workers of all test files: it imports the modules that any of them needs
WORKERS_IMPORT = ("hf_audio.audit.workers", "hf_audio.data.building.gathering", "hf_audio.kinds._kaldi_fbank")
_set_preload = forkserver.set_forkserver_preload
forkserver.set_forkserver_preload = lambda modules: _set_preload([*WORKERS_IMPORT, *modules])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a GPU; scripts/check_gpu.sh runs these")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the longest files first, so that none is left for one process at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Excludes the imports of test files from garbage collection, which would take 1 s of CPU time in each training,
    because Trainer frees memory before its first step. See also `_imports_are_kept`."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _imports_are_kept() -> Iterator[None]:
    """Does the same for imports within the tests of a file, after its fixtures are gone."""
    yield
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    _HUB.stop()
    _FOLDER.cleanup()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keeps bytes out of test ids: archives contain the time, and ids must be equal in all processes that run tests."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def hub() -> Hub:
    """The Hub at HF_ENDPOINT: see hub_server.py. Users: alice (also of acme), bob, reader (may not write)."""
    return _HUB


@pytest.fixture(autouse=True)
def _clean_hub(hub: Hub):
    """Every test starts with an empty log and without faults, its repositories are deleted (those of wider fixtures
    stay), and it fails if the Hub itself had an error."""
    hub.log.clear()
    before = set(hub.storage.repos)
    yield
    hub.faults.clear()
    for name in set(hub.storage.repos) - before:
        hub.storage.delete(*name)
    assert not hub.errors, hub.errors.pop()


@pytest.fixture(autouse=True)
def _shared_folders_stay() -> Iterator[None]:
    """A test fails if it changes a folder that all tests read."""
    yield
    changed = _SHARED.changes()
    assert not changed, f"This test changed what other tests read too: {', '.join(changed)}. Give it a copy"


@pytest.fixture
def token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """The token of alice, also set as HF_TOKEN."""
    monkeypatch.setenv("HF_TOKEN", hub.token("alice"))
    return hub.token("alice")


@pytest.fixture
def hub_env(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Environment of a new process: this Hub, alice's token, an empty cache, hf_audio importable."""
    path = os.pathsep.join(filter(None, [str(REPO_ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"HF_TOKEN": hub.token("alice"), "HF_HOME": str(tmp_path / "hf_home"), "PYTHONPATH": path}


@pytest.fixture(scope="session")
def forks():
    """Starts processes in which hf_audio and its dependencies are imported: see forks.py."""
    modules = ("training_run", "hf_audio.workflows", "hf_audio.analysis.evaluation")
    path = os.pathsep.join((str(REPO_ROOT), str(REPO_ROOT / "tests")))
    with Forks(*modules, env=os.environ | {"PYTHONPATH": path}) as started:
        yield started


@pytest.fixture(scope="session")
def forks_without_hf_audio(tmp_path_factory: pytest.TempPathFactory):
    """Starts processes that have the libraries but not hf_audio."""
    modules = ("torch", "datasets", "peft", "soundfile", "transformers.pipelines")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HOME": str(tmp_path_factory.mktemp("elsewhere") / "hf_home")}
    with Forks(*modules, without=["hf_audio"], env=env) as started:
        yield started


@pytest.fixture(scope="session")
def browser():
    """A real Chromium that opens local pages: see browser.py; tests that need it are skipped without one."""
    import browser

    if browser.chromium() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with browser.Chromium.start() as started:
        yield started


@pytest.fixture
def opened(browser, tmp_path: Path):
    """Opens an HTML page in a folder with a recording, and checks at the end that the page had no faults."""
    import numpy as np
    import soundfile

    pages = []
    soundfile.write(tmp_path / "a b.wav", np.zeros(480_000), 16_000)

    def open_page(html: str):
        (tmp_path / "index.html").write_text(html, encoding="utf-8")
        pages.append(browser.open(tmp_path / "index.html"))
        return pages[-1]

    yield open_page
    for page in pages:
        assert page.value("document.pwned") is None and page.complaints == []
        page.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings next to the repository; tests that need it are skipped without it."""
    folder = REPO_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real recordings are missing: {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny feature datasets by their problem type, only to be read: see training_run.py."""
    from training_run import build_tiny_features

    from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL

    folder = tmp_path_factory.mktemp("features")
    return {task: _SHARED.keep(build_tiny_features(folder / task, task)) for task in (SINGLE_LABEL, MULTI_LABEL)}


@pytest.fixture(scope="session")
def tiny_features(tiny_folders: dict[str, Path]):
    """The single-label feature dataset of `tiny_folders`."""
    from hf_audio.data.index.labels import SINGLE_LABEL
    from hf_audio.data.loading.features_dataset import load_features

    return load_features(tiny_folders[SINGLE_LABEL])


@pytest.fixture(scope="session")
def small_features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small feature dataset that may be published, only to be read: see small_features.py."""
    from small_features import build_small_features

    return _SHARED.keep(build_small_features(tmp_path_factory.mktemp("small") / "features"))


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings of tone_corpus.py, only to be read."""
    from tone_corpus import tone_clips

    folder = tmp_path_factory.mktemp("tones")
    tone_clips(folder)
    return _SHARED.keep(folder)


@pytest.fixture(scope="session")
def tone_features(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of `tones` from an uninterrupted build, only to be read."""
    from tone_corpus import build

    return _SHARED.keep(build(tones, tmp_path_factory.mktemp("features") / "undisturbed"))


@pytest.fixture(scope="session")
def named_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders below folders whose names must not be published, only to be read."""
    from corpus_trees import write_sound

    root = tmp_path_factory.mktemp("alice") / "clients of mine" / "acme"
    for number, name in enumerate(("bell", "flute", "tuba")):
        for recording in range(8):
            write_sound(root / name / f"{recording}.wav", 0.5, recording, [200.0 * 3**number], sample_rate=16_000)
    return _SHARED.keep(root)


@pytest.fixture
def small_run(tmp_path: Path) -> Path:
    """A run folder with a small model of ours and its code, which a test may damage."""
    from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig

    labels = {0: "bell", 1: "tuba"}
    config = SpectrogramCNNConfig(id2label=labels, label2id={name: index for index, name in labels.items()})
    SpectrogramCNN(config).save_pretrained(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Small stock transformers by their kind, only to be read: see small_transformers.py."""
    from small_transformers import save_checkpoints

    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = save_checkpoints(folder)
    _SHARED.keep(folder)
    return checkpoints
