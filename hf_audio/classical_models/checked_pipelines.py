"""Checks that pipelines read from a file have the structure of `new_pipeline`, before they are used for prediction.

skops only creates objects of known types, but their contents come from the file. libsvm and the trees of gradient
boosting read their arrays in C without bounds checks: a node that points beyond its array crashes the process, and one
that points back causes an endless loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

MAX_FEATURES = 1 << 20


def check_classifiers(classifiers: Any) -> None:
    """Raises ValueError, with the reason, unless this is {class name: pipeline} as from `fit_classifiers`."""
    if type(classifiers) is not dict or not all(isinstance(name, str) for name in classifiers):
        raise ValueError("it is not a dict of class names")
    for pipeline in classifiers.values():
        _check_plain(pipeline, Pipeline)
        kinds = [(name, type(step)) for name, step in pipeline.steps]
        if kinds[:1] != [("scaler", StandardScaler)] or kinds[1:] not in (
            [("classifier", SVC)],
            [("classifier", HistGradientBoostingClassifier)],
        ):
            raise ValueError("a pipeline is not a StandardScaler with an SVC or HistGradientBoostingClassifier")
        scaler, classifier = (step for _, step in pipeline.steps)
        num_features = _number_of_features(scaler, classifier)
        _check_scaler(scaler, num_features)
        (_check_svm if type(classifier) is SVC else _check_boosting)(classifier, num_features)


def _check_plain(one: Any, kind: type) -> None:
    """Requires exactly this class, without attributes that replace methods."""
    if type(one) is not kind or any(hasattr(kind, name) for name in vars(one)):
        raise ValueError(f"a {type(one).__name__} is not a plain scikit-learn {kind.__name__}")


def _number_of_features(scaler: Any, classifier: Any) -> int:
    found = scaler.n_features_in_, classifier.n_features_in_
    if type(found[0]) is not int or found[0] != found[1] or not 0 < found[0] <= MAX_FEATURES:
        raise ValueError("its steps have different numbers of features")
    if list(classifier.classes_) != [False, True]:
        raise ValueError("a classifier is not binary")
    return found[0]


def _check_scaler(scaler: StandardScaler, num_features: int) -> None:
    _check_plain(scaler, StandardScaler)
    for name in ("mean_", "scale_"):
        _array(getattr(scaler, name), np.float64, (num_features,))


def _check_svm(svm: SVC, num_features: int) -> None:
    """Checks all arrays that libsvm reads, since it trusts their lengths."""
    _check_plain(svm, SVC)
    _array(svm.support_vectors_, np.float64, (None, num_features))
    count = len(svm.support_vectors_)
    _array(svm.support_, np.int32, (count,))
    _array(svm._n_support, np.int32, (2,))
    _array(svm._dual_coef_, np.float64, (1, count))
    _array(svm._intercept_, np.float64, (1,))
    _array(svm._probA, np.float64, (0,))
    _array(svm._probB, np.float64, (0,))
    if (svm.kernel, svm._sparse) != ("rbf", False) or not np.isfinite(svm._gamma):
        raise ValueError("its SVM does not have an RBF kernel")
    if svm._n_support.min() < 0 or svm._n_support.sum(dtype=np.int64) != count:
        raise ValueError("the number of support vectors of its SVM is wrong")


def _check_boosting(boosting: HistGradientBoostingClassifier, num_features: int) -> None:
    _check_plain(boosting, HistGradientBoostingClassifier)
    mapper = boosting._bin_mapper
    if type(mapper).__name__ != "_BinMapper" or any(hasattr(type(mapper), name) for name in vars(mapper)):
        raise ValueError("its boosting does not have a plain scikit-learn bin mapper")
    _array(mapper.is_categorical_, np.uint8, (num_features,))
    _array(boosting._baseline_prediction, np.float64, (1, 1))
    if mapper.is_categorical_.any() or boosting._preprocessor is not None or boosting.n_trees_per_iteration_ != 1:
        raise ValueError("its boosting has categories, or several trees per step")
    for trees in boosting._predictors:
        if type(trees) is not list or len(trees) != 1:
            raise ValueError("its boosting has several trees per step")
        _check_tree(trees[0], num_features)


def _check_tree(tree: Any, num_features: int) -> None:
    """Requires that each branch leads to two later nodes of the tree, so that all paths end in a leaf."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    _check_plain(tree, TreePredictor)
    _array(tree.nodes, PREDICTOR_RECORD_DTYPE, (None,))
    _array(tree.raw_left_cat_bitsets, np.uint32, (None, 8))
    is_branch = tree.nodes["is_leaf"] == 0
    branches, places = tree.nodes[is_branch], np.flatnonzero(is_branch)
    if not len(tree.nodes) or tree.nodes["is_categorical"].any() or (tree.nodes["is_leaf"] > 1).any():
        raise ValueError("a tree has no nodes, or nodes that are neither branch nor leaf")
    for side in ("left", "right"):
        if (branches[side] <= places).any() or (branches[side] >= len(tree.nodes)).any():
            raise ValueError("a branch of a tree points outside the tree or back")
    features = branches["feature_idx"]
    if (features < 0).any() or (features >= num_features).any() or (branches["missing_go_to_left"] > 1).any():
        raise ValueError("a branch of a tree uses a feature that does not exist")


def _array(values: Any, kind: Any, shape: tuple[int | None, ...]) -> None:
    """Raises ValueError unless this is an array of exactly this type and shape; None is any length."""
    is_array = type(values) is np.ndarray and values.dtype == np.dtype(kind) and values.ndim == len(shape)
    if not is_array or any(wanted not in (None, found) for found, wanted in zip(values.shape, shape, strict=True)):
        raise ValueError(f"an array is not {np.dtype(kind).name} {list(shape)}")
