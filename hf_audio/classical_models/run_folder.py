"""The run folder of a classical model, whose files are published and loaded again. Nothing in it is pickled.

run folder/
  model.skops               {class name: pipeline of scikit-learn}
  config.json               classes, and calibration of decision values
  preprocessor_config.json  of ClassicalFeatureExtractor, without statistics, since pipelines standardize
  classical.py ...          its code
  network/                  the network whose embeddings the pipelines read, if there is one, with its extractor
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import os
import platform
import shutil
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hf_audio.classical_models.checked_pipelines import check_classifiers
from hf_audio.classical_models.classifiers import Classifiers
from hf_audio.classical_models.training import TrainedClassifiers
from hf_audio.classical_models.window_vectors import VectorReader
from hf_audio.errors import InputError, one_line
from hf_audio.files import read_json, read_whole, write_atomically
from hf_audio.models.saving import save_extractor, save_model

MODEL_FILE = "model.skops"
NETWORK_FOLDER = "network"
# Types in scikit-learn's objects in addition to those that skops considers safe
TRUSTED = {
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "a tree of gradient boosting: arrays of nodes",
}
# A support vector machine of 20,000 windows and 500 features takes 80 MB per class
MAX_MODEL_BYTES = 4 << 30
MAX_DEFLATION, MIN_BOMB_BYTES = 50, 64 << 20  # trees of gradient boosting compress to a fifth
OF_A_NETWORK = ("model.safetensors", "model.safetensors.index.json", "checkpoints")


def require_skops() -> None:
    """Raises InputError if skops is not installed, before any work is done."""
    if importlib.util.find_spec("skops") is None:
        raise InputError(
            'Saving scikit-learn models needs skops, which is not installed: pip install "hf_audio[sklearn]"'
        )


def claim_folder(folder: Path, overwrite_run: bool) -> None:
    """Creates the run folder, or reuses that of an earlier run of a classical model.

    Raises:
        InputError: it contains the run of a network, which must not be deleted.
    """
    found = [folder / name for name in OF_A_NETWORK if (folder / name).exists()]
    if found and not overwrite_run:
        raise InputError(
            f"{folder} contains the run of a network ({found[0].name}): use another --output_dir, or "
            "--overwrite_run true to delete that run"
        )
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)


def save_run(trained: TrainedClassifiers, folder: Path) -> None:
    """Writes the files above, config.json last.

    Raises:
        RuntimeError: the model has a type that neither skops nor TRUSTED considers safe.
    """
    import skops.io

    model = skops.io.dumps(trained.classifiers, compression=zipfile.ZIP_DEFLATED)
    trusted = skops.io.get_untrusted_types(data=model)
    if not set(trusted) <= set(TRUSTED):
        raise RuntimeError(f"skops {version('skops')} does not know {', '.join(sorted(set(trusted) - set(TRUSTED)))}")
    (folder / "config.json").unlink(missing_ok=True)
    write_atomically(folder / MODEL_FILE, model)
    extractor = copy.deepcopy(trained.features.extractor)
    extractor.mean = extractor.std = None
    save_extractor(extractor, folder)
    _save_network(trained, folder / NETWORK_FOLDER)
    config = json.dumps(_config(trained, sorted(trusted)), indent=1, ensure_ascii=False)
    write_atomically(folder / "config.json", config + "\n")


def load_run(folder: Path, reader: VectorReader) -> TrainedClassifiers:
    """Loads the model that `save_run` saved, to score the splits of `reader`.

    Raises:
        InputError: the files are not from `save_run`, or were changed.
    """
    config = read_json(folder / "config.json")
    classifiers = read_classifiers(folder / MODEL_FILE)
    try:
        logits = np.array([config["logits"][name] for name in config["label2id"]], dtype=np.float64)
        if (
            logits.shape != (len(logits), 2)
            or not np.isfinite(logits).all()
            or not isinstance(config["classical_model"], str)
        ):
            raise ValueError("logits must have a scale and a bias for each class")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / 'config.json'} is not the config of a classical model: {one_line(error)}"
        ) from error
    return TrainedClassifiers(reader, config["classical_model"], classifiers, logits)


def read_classifiers(path: Path) -> Classifiers:
    """{class name: pipeline} from a model.skops, with known types and checked contents, ready to predict.

    Raises:
        InputError: the file does not exist, its content is far larger than the file, or its objects are not valid.
    """
    import skops.io

    content = read_whole(path, MAX_MODEL_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            num_bytes = sum(entry.file_size for entry in archive.infolist())
        if num_bytes > min(MAX_MODEL_BYTES, MIN_BOMB_BYTES + MAX_DEFLATION * len(content)):
            raise ValueError(f"it unpacks to {num_bytes:,} bytes")
        classifiers = skops.io.loads(content, trusted=list(TRUSTED))
        check_classifiers(classifiers)
    except Exception as error:  # objects may raise any error when skops fills them
        raise InputError(f"{path} is not a classical model that this program wrote: {one_line(error)}") from error
    return classifiers


def _config(trained: TrainedClassifiers, trusted: list[str]) -> dict[str, Any]:
    features, network = trained.features, trained.reader.network
    labels, manifest = features.labels, features.manifest
    packages = ("scikit-learn", "skops", "numpy", "librosa")
    return {
        **labels.config_settings,
        "classical_model": trained.classical_model,
        "logits": {name: row.tolist() for name, row in zip(labels.names, trained.logits, strict=True)},
        "trusted_types": trusted,
        "window_s": manifest["window_s"],
        "hop_s": manifest["hop_s"],
        "features": manifest["extractor"],
        "network": network.facts() if network else None,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "sklearn": {"model": {"file": MODEL_FILE}, "model_format": "skops"},  # for the Hub
    }


def _save_network(trained: TrainedClassifiers, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    network = trained.reader.network
    if network is not None:
        save_model(network.predictor.model, temporary)
        save_extractor(network.predictor.extractor, temporary)
    shutil.rmtree(folder, ignore_errors=True)
    if network is not None:
        os.replace(temporary, folder)
