"""A manipulated model.skops is refused before it predicts: libsvm and trees would read outside of their memory."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from hf_audio.classical_models.checked_pipelines import check_classifiers
from hf_audio.classical_models.classifiers import new_pipeline
from hf_audio.classical_models.run_folder import TRUSTED, load_run, read_classifiers
from hf_audio.errors import InputError

skops_io = pytest.importorskip("skops.io")
NUM_FEATURES = 5


def fitted(classical_model: str):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(200, NUM_FEATURES))
    return new_pipeline(classical_model, {}, 200, seed=0).fit(inputs, inputs[:, 0] + 0.3 * random.normal(size=200) > 0)


def read_again(pipeline, tmp_path, **others):
    """The pipeline after it was written to a file and read."""
    (tmp_path / "model.skops").write_bytes(skops_io.dumps({"bell": pipeline, **others}))
    return read_classifiers(tmp_path / "model.skops")["bell"]


@pytest.mark.parametrize("classical_model", ["svm", "boosting"])
def test_a_saved_model_predicts_the_same(classical_model, tmp_path):
    pipeline = fitted(classical_model)
    inputs = np.random.default_rng(1).normal(size=(50, NUM_FEATURES))
    assert np.array_equal(read_again(pipeline, tmp_path).decision_function(inputs), pipeline.decision_function(inputs))


def branch(nodes: np.ndarray) -> int:
    return int(np.flatnonzero(nodes["is_leaf"] == 0)[0])


TREES = {
    "left beyond the end": ("left", 1_000_000),
    "right beyond the end": ("right", 4_000_000_000),
    "left to itself": ("left", 0),
    "right to itself": ("right", 0),
    "a feature beyond the row": ("feature_idx", NUM_FEATURES),
    "a feature far before the row": ("feature_idx", -(1 << 40)),
    "categories": ("is_categorical", 1),
    "an invalid leaf flag": ("is_leaf", 7),
    "an invalid side for missing values": ("missing_go_to_left", 9),
}


@pytest.mark.parametrize("attack", TREES)
def test_trees_with_bad_nodes_are_refused(attack, tmp_path):
    pipeline = fitted("boosting")
    field, value = TREES[attack]
    nodes = pipeline[1]._predictors[3][0].nodes
    nodes[field][branch(nodes)] = value
    with pytest.raises(InputError, match=r"is not a classical model that this program wrote: a (branch of a )?tree"):
        read_again(pipeline, tmp_path)


def set_nodes(pipeline, nodes):
    pipeline[1]._predictors[0][0].nodes = nodes


BOOSTING = {
    "no nodes": lambda one: set_nodes(one, one[1]._predictors[0][0].nodes[:0]),
    "numbers as nodes": lambda one: set_nodes(one, np.zeros(4)),
    "several trees a step": lambda one: one[1]._predictors[0].append(one[1]._predictors[1][0]),
    "another number of trees": lambda one: setattr(one[1], "n_trees_per_iteration_", 10**9),
    "a wide start": lambda one: setattr(one[1], "_baseline_prediction", np.zeros((1, 1000))),
    "more features": lambda one: setattr(one[1], "n_features_in_", 10**9),
    "categories": lambda one: setattr(one[1]._bin_mapper, "is_categorical_", np.ones(NUM_FEATURES, np.uint8)),
    "a preprocessor": lambda one: setattr(one[1], "_preprocessor", one[0]),
    "a method's place": lambda one: setattr(one[1], "decision_function", np.save),
    "other classes": lambda one: setattr(one[1], "classes_", np.arange(1000)),
}
SVM = {
    "more support vectors counted": lambda one: setattr(one[1], "_n_support", np.array([10**9, 5], np.int32)),
    "fewer than none": lambda one: setattr(one[1], "_n_support", np.array([-5, len(one[1].support_) + 5], np.int32)),
    "fewer coefficients": lambda one: setattr(one[1], "_dual_coef_", one[1]._dual_coef_[:, :1].copy()),
    "narrower vectors": lambda one: setattr(one[1], "support_vectors_", one[1].support_vectors_[:, :1].copy()),
    "other numbers": lambda one: setattr(one[1], "support_vectors_", one[1].support_vectors_.astype(np.float32)),
    "fewer places": lambda one: setattr(one[1], "support_", one[1].support_[:1].copy()),
    "no intercept": lambda one: setattr(one[1], "_intercept_", np.zeros(0)),
    "another kernel": lambda one: setattr(one[1], "kernel", "precomputed"),
    "probabilities": lambda one: setattr(one[1], "_probA", np.zeros(7)),
    "sparse": lambda one: setattr(one[1], "_sparse", True),
}
CASES = [("boosting", name) for name in BOOSTING] + [("svm", name) for name in SVM]


@pytest.mark.parametrize(("classical_model", "attack"), CASES)
def test_arrays_of_inconsistent_sizes_are_refused(classical_model, attack, tmp_path):
    pipeline = fitted(classical_model)
    {"boosting": BOOSTING, "svm": SVM}[classical_model][attack](pipeline)
    with pytest.raises(ValueError, match=r"."):
        check_classifiers({"bell": pipeline})
    if attack != "a method's place":  # skops does not save such a function
        with pytest.raises(InputError, match="is not a classical model that"):
            read_again(pipeline, tmp_path)


def test_other_objects_are_refused(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    for other in (LogisticRegression(), make_pipeline(LogisticRegression()), 5, None, fitted("svm")[1]):
        with pytest.raises(InputError, match="is not a classical model that"):
            read_again(other, tmp_path)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        for _ in range(80):
            file.write(bytes(1 << 20))
    (tmp_path / "model.skops").write_bytes(held.getvalue())
    with pytest.raises(InputError, match="unpacks to 83,886,080 bytes"):
        read_classifiers(tmp_path / "model.skops")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04K\x01.", json.dumps({"a": 1}).encode()])
def test_files_that_are_not_skops_are_refused(content, tmp_path):
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(InputError, match="is not a classical model that"):
        read_classifiers(tmp_path / "model.skops")


@pytest.mark.parametrize(
    "changes",
    [
        {"logits": {}},
        {"logits": {"bell": [1.0]}},
        {"logits": {"bell": ["a", "b"]}},
        {"label2id": 5},
        {"classical_model": None},
    ],
)
def test_a_manipulated_config_is_one_sentence(changes, tmp_path):
    (tmp_path / "model.skops").write_bytes(skops_io.dumps({"bell": fitted("svm")}))
    config = {"label2id": {"bell": 0}, "logits": {"bell": [1.0, 0.0]}, "classical_model": "svm"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_run(tmp_path, reader=None).classical_model == "svm"
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(InputError, match="is not the config of a classical model"):
        load_run(tmp_path, reader=None)


def test_only_trees_are_trusted():
    assert list(TRUSTED) == ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
