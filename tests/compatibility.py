"""The code of every card, word for word, in environments with the releases of transformers that docs/using.md names.

    python tests/compatibility.py                    the oldest, 4.57, the last that ignores functions, the newest
    python tests/compatibility.py 4.57.6             one of them
    python tests/compatibility.py --small 4.57.6     a few models, in an environment with few packages

A small model of each kind is pushed with its card to a local Hub, and is also in a folder. In each environment
(card_environments.py) a program without hf_audio runs the code blocks of the cards exactly as printed: from the Hub by
the repository's name, and from a run folder by the folder's name. The results are compared with hf_audio's own for the
same recording.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
VERSIONS = ("4.48.0", "4.57.6", "5.22.2", "5.24.0")
SMALL = ("ast_stock-linear-multi", "cnn-linear-multi")
ATOL = 1e-4
# How an Inference Endpoint uses a repository
HANDLED = """
import sys
from huggingface_hub import snapshot_download
folder = snapshot_download("{repo_id}")
sys.path.insert(0, folder)
sys.modules.pop("handler", None)
from handler import EndpointHandler
endpoint = EndpointHandler(folder)
sys.path.remove(folder)
recording = open("recording.wav", "rb").read()
answer = {{one["label"]: one["score"] for one in endpoint({{"inputs": recording}})}}
scores = [answer[name] for name in {names!r}]
answer = endpoint({{"inputs": recording, "parameters": {{"function_to_apply": "none"}}}})
answer = {{one["label"]: one["score"] for one in answer}}
logits = [answer[name] for name in {names!r}]
"""
# Odd names, and more of them than the pipeline returns by default
NAMES = ("violin", "bell", "a;b", 'said "so"', "hum", "ö", "organ")


def make_cards(folder: Path, hub: Any, *, small: bool) -> dict[str, dict[str, Any]]:
    """Publishes the models, each with a card; returns by name the code of the cards and the expected results."""
    import numpy as np
    import soundfile

    samples = _recording()
    soundfile.write(folder / "recording.wav", samples, 44_100, subtype="FLOAT")
    expected = {}
    for instance in _instances(small):
        predictor, threshold = _save(instance, folder / instance.id, f"alice/{instance.id}", hub)
        logits = predictor.waveform(samples.T, 44_100).logits.astype(np.float64).mean(axis=0)
        scores = predictor.labels.probabilities(logits)
        names = predictor.labels.names
        expected[instance.id] = {
            "names": names,
            "logits": logits.tolist(),
            "scores": scores.tolist(),
            "threshold": threshold,
        }
    return expected if small else expected | _other_cards(folder, hub)


def _other_cards(folder: Path, hub: Any) -> dict[str, dict[str, Any]]:
    """Cards of a feature dataset and of an SVM trained on it: only that their code runs is tested."""
    from training_run import build_tiny_features

    from hf_audio.analysis.evaluation import evaluate_model
    from hf_audio.classical_models import train_pipeline
    from hf_audio.classical_models.run_folder import save_run
    from hf_audio.data.index.labels import MULTI_LABEL
    from hf_audio.data.loading.features_dataset import load_features
    from hf_audio.kinds.classical import ClassicalFeatures
    from hf_audio.publishing.dataset_card import write_dataset_card
    from hf_audio.publishing.model_card import write_model_card
    from hf_audio.publishing.push import push_features, push_model

    token = hub.token("alice")
    for name, extractor in (("fbank-set", None), ("classical-set", ClassicalFeatures())):
        build_tiny_features(folder / name, MULTI_LABEL, extractor=extractor)
        write_dataset_card(folder / name)
        push_features(folder / name, f"alice/{name}", token=token)
    svm = folder / "svm"
    svm.mkdir()
    trained = train_pipeline(load_features(folder / "classical-set"), "svm", num_jobs=1)
    save_run(trained, svm)
    report = evaluate_model(trained, trained.features, svm)
    write_model_card(svm, report, repo_id="alice/svm")
    push_model(svm, "alice/svm", token=token)
    return {"fbank-set": {"kind": "datasets"}, "classical-set": {"kind": "datasets"}, "svm": {"kind": "models"}}


def _recording():
    """1.9 s of a falling tone in noise, in stereo, at a sampling rate that no model uses."""
    import numpy as np

    random, time_s = np.random.default_rng(0), np.arange(83_790) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * (900 - 200 * time_s) * time_s)
    noise = 0.02 * random.standard_normal((2, len(time_s)))
    return (np.stack([tone, 0.5 * tone[::-1]]) + noise).T.astype(np.float32)


def _instances(small: bool):
    import model_cases
    from model_cases import CASES, Instance

    from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace

    class SevenClasses(Instance):
        @property
        def labels(self) -> LabelSpace:
            grouped = "parallel" in self.case.name  # its groups contain class names
            return LabelSpace(model_cases.NAMES if grouped else NAMES, self.problem_type)

    tasks = (MULTI_LABEL, SINGLE_LABEL)
    found = [SevenClasses(case, case.heads[0], tasks[number % 2]) for number, case in enumerate(CASES)]
    found += [SevenClasses(case, case.heads[0], MULTI_LABEL) for case in CASES if case.name in ("cnn", "ast_stock")]
    found = list({instance.id: instance for instance in found}.values())
    return [instance for instance in found if not small or instance.id in SMALL]


def _save(instance: Any, folder: Path, repo_id: str, hub: Any):
    """Saves a model with its card, pushes both, and writes a card to the folder that names the folder."""
    from hf_audio.data.index.labels import MULTI_LABEL
    from hf_audio.models.saving import save_extractor, save_model
    from hf_audio.models.usage import Usage, write_usage
    from hf_audio.predictor import Predictor
    from hf_audio.publishing.model_card import write_model_card
    from hf_audio.publishing.push import push_model

    model, extractor = instance.model(), instance.case.extractor()
    threshold = 0.4321 if instance.problem_type == MULTI_LABEL else None
    window_s = 1.13 if extractor.sampling_rate == 22_050 and hasattr(extractor, "n_fft") else 1.0
    usage = Usage(threshold, window_s, 0.5)
    save_model(model, folder)
    save_extractor(extractor, folder)
    write_usage(folder, usage)
    report = report_of(instance, model, extractor, usage)
    write_model_card(folder, report, repo_id=repo_id)
    push_model(folder, repo_id, token=hub.token("alice"))
    write_model_card(folder, report)
    return Predictor(model, extractor, usage=usage, name=instance.id), threshold


def report_of(instance: Any, model: Any, extractor: Any, usage: Any) -> dict[str, Any]:
    """The parts of a report of `evaluate_model` that a card needs."""
    import numpy as np

    from hf_audio.analysis.evaluation import ROW_TITLES, judge
    from hf_audio.data.index.labels import MULTI_LABEL
    from hf_audio.kinds import kind_of_extractor
    from hf_audio.metrics import ClipScores

    labels, kind = instance.labels, kind_of_extractor(extractor)
    settings = extractor.to_dict()
    parameters = {name: settings[name] for name in kind.limits if name in settings} | {"kind": kind.name}
    count = len(labels)
    clips = ClipScores(np.arange(count), 4 * np.eye(count) - 2, np.eye(count, dtype=np.float32))
    scores = judge({"test": clips}, labels)
    if instance.problem_type == MULTI_LABEL:
        scores["test"]["threshold"] = usage.decision_threshold
    split = {"num_clips": count, "num_groups": count, "num_windows": count}
    corpus = {
        "name": "tones",
        "license": "CC0",
        "may_redistribute": True,
        "homepage": "",
        "citation": "",
        "protocol": "",
        "groups_known": True,
    }
    return {
        "command": None,
        "evaluated_split": "test",
        "rows": ROW_TITLES,
        "notes": [],
        "plots": [],
        "resampling": None,
        "results": dict.fromkeys(ROW_TITLES, scores),
        "task": {"problem_type": labels.problem_type, "labels": list(labels.names)},
        "data": {
            "corpus": corpus,
            "window_s": usage.window_s,
            "hop_s": usage.hop_s,
            "extractor": parameters,
            "splits": {"validation": split, "test": split},
        },
        "model": {
            "architecture": type(model).__name__,
            "base_model": None,
            "adapter": None,
            "num_parameters": model.num_parameters(),
            "num_trainable_parameters": model.num_parameters(),
        },
        "training": {"seed": 0},
        "versions": {},
    }


def code_of(card: str) -> list[str]:
    """The code blocks of a card, exactly as printed."""
    return re.findall(r"```python\n(.*?)```", card, re.S)


def run_cards(python: Path, folder: Path, expected: dict[str, Any], hub: Any) -> dict[str, Any]:
    """Results of the cards' code in an environment: {name: {"hub" or "folder": [result of each block]}}."""
    blocks = {}
    for name, wanted in expected.items():
        repo = hub.repo(wanted.get("kind", "models"), f"alice/{name}")
        blocks[name] = {"hub": code_of(repo.read("README.md").decode())}
        if "kind" not in wanted:
            blocks[name]["folder"] = code_of((folder / name / "README.md").read_text())
            blocks[name]["handler"] = [HANDLED.format(repo_id=f"alice/{name}", names=wanted["names"])]
    (folder / "cards.json").write_text(json.dumps(blocks))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_", "TRANSFORMERS"))}
    env |= {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": hub.token("alice"),
        "HF_HOME": str(folder / f"home-{python.parts[-3]}"),
    }
    env |= {
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [str(python), str(TESTS / "run_card_code.py"), str(folder / "cards.json")]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise AssertionError(f"{python}: {done.stderr[-4000:]}")
    return json.loads((folder / "found.json").read_text())


def faults(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Differences between an environment's results and those of hf_audio, one line each."""
    wrong = []
    for name, wanted in expected.items():
        for place, blocks in found[name].items():
            checks = (_fault_of_pipeline, _fault_of_long) if "kind" not in wanted else [lambda *_: None] * len(blocks)
            checks = [_fault_of_handler] if place == "handler" else checks
            for block, check in zip(blocks, checks, strict=True):
                fault = block.get("error") or check(block, wanted)
                if fault:
                    wrong.append(f"{name} from the {place}: {fault}")
    return wrong


def _fault_of_pipeline(block: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    scores = {one["label"]: one["score"] for one in block["scores"]}
    total = sum(scores.values())
    if set(scores) != set(wanted["names"]):
        return f"the pipeline gives {len(scores)} of {len(wanted['names'])} classes"
    if (abs(total - 1) < 1e-3) != (wanted["threshold"] is None):
        return f"the pipeline's scores add up to {total:.3f}"
    return None


def _fault_of_handler(block: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    off = max(
        abs(one - other) for name in ("scores", "logits") for one, other in zip(block[name], wanted[name], strict=True)
    )
    return None if off < ATOL else f"scores or logits of the handler are off by {off:.2g}"


def _fault_of_long(block: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    names, scores, threshold = wanted["names"], wanted["scores"], wanted["threshold"]
    off = max(abs(one - other) for one, other in zip(block["logits"], wanted["logits"], strict=True))
    if not off < ATOL:
        return f"logits of the whole recording are off by {off:.2g}"
    decided = names[scores.index(max(scores))]
    if threshold is not None:
        decided = str([name for name, score in zip(names, scores, strict=True) if score >= threshold])
    printed = block["printed"].strip()
    return None if printed == decided else f"it prints {printed!r}, expected {decided!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=VERSIONS)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    sys.path[:0] = [str(TESTS), str(TESTS.parent)]
    from hub_server import Hub

    with tempfile.TemporaryDirectory(prefix="compatibility-") as temporary:
        folder = Path(temporary)
        hub = Hub.start(folder / "hub")
        os.environ |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
        os.environ["NO_PROXY"] = "127.0.0.1,localhost"
        from card_environments import environment

        expected = make_cards(folder, hub, small=options.small)
        failed = 0
        for version in options.versions:
            found = run_cards(environment(version, options.small), folder, expected, hub)
            wrong = faults(expected, found)
            failed += len(wrong)
            sys.stdout.write(f"transformers {version}: {len(expected)} cards, {len(wrong)} faults\n")
            sys.stdout.writelines(f"  {line}\n" for line in wrong)
        hub.stop()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
