"""Mapping a model's classes to a dataset's by name, AudioSet's synonyms or a label map. Ambiguities are reported."""

from __future__ import annotations

import numpy as np
import pytest

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.class_mapping import map_classes, read_given_map

# from id2label of MIT/ast-finetuned-audioset-10-10-0.4593
AUDIOSET = (
    "Speech",
    "Violin, fiddle",
    "Acoustic guitar",
    "Electric guitar",
    "Cello",
    "Bass (instrument role)",
    "Singing",
)


def mapped(model: tuple[str, ...], data: tuple[str, ...], given=None, task=SINGLE_LABEL, own=MULTI_LABEL):
    return map_classes(LabelSpace(model, own), LabelSpace(data, task), given, model="M", data="D")


def test_names_match_except_for_case_and_hyphens_and_by_synonyms():
    found = mapped(AUDIOSET, ("cello", "acoustic_guitar", "fiddle", "voice"))
    assert found.labels.names == ("cello", "acoustic_guitar", "fiddle")
    assert found.as_names(LabelSpace(AUDIOSET, MULTI_LABEL)) == {
        "cello": ["Cello"],
        "acoustic_guitar": ["Acoustic guitar"],
        "fiddle": ["Violin, fiddle"],
    }
    assert "'fiddle' to 'Violin, fiddle'" in found.told[0]
    assert "M has no class with that name: 'voice'; use --label_map" in found.told[1]
    assert "4 of the 7 classes of M" in found.told[2]
    assert "the highest score is taken" in found.told[3]
    back = mapped(("violin", "cello"), ("Violin, fiddle", "Cello"), own=SINGLE_LABEL)
    assert back.of_model == ((0,), (1,)) and len(back.told) == 1
    assert mapped(("a", "b"), ("b", "a"), own=SINGLE_LABEL).told == ()


def test_ambiguous_names_are_left_out():
    found = mapped(("cat, pet", "dog, pet", "bird"), ("pet", "bird", "dog"), own=SINGLE_LABEL)
    assert found.labels.names == ("bird", "dog")
    assert "'pet' is left out as ambiguous: it could be 'cat, pet', 'dog, pet' of M" in " ".join(found.told)
    both = mapped(AUDIOSET, ("violin", "fiddle", "cello", "speech"))
    assert both.labels.names == ("cello", "speech") and "as could other classes" in " ".join(both.told)
    exact = mapped(AUDIOSET, ("Violin, fiddle", "fiddle", "cello"))
    assert exact.labels.names == ("Violin, fiddle", "cello"), "an equal name is not ambiguous"


def test_a_label_map_decides(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("guitar: [Acoustic guitar, Electric guitar]\nvoice: Singing\nrain: null\nN:\n  voice: talk\n")
    data = LabelSpace(("guitar", "voice", "rain", "cello"), SINGLE_LABEL)
    models = {
        "M": LabelSpace(AUDIOSET, MULTI_LABEL),
        "N": LabelSpace(("talk", "cello", *AUDIOSET[2:4], "Singing"), SINGLE_LABEL),
    }
    maps = read_given_map(path, data, models)
    found = map_classes(models["M"], data, maps["M"], model="M", data="D")
    assert found.as_names(models["M"]) == {
        "guitar": ["Acoustic guitar", "Electric guitar"],
        "voice": ["Singing"],
        "cello": ["Cello"],
    }
    assert (
        "'guitar' to 'Acoustic guitar' or 'Electric guitar'" in found.told[0] and "leaves out 'rain'" in found.told[1]
    )
    assert map_classes(models["N"], data, maps["N"], model="N", data="D").of_model[1] == (0,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gutar: Cello", "names 'gutar', which is not a class of the data: did you mean 'guitar'"),
        ("guitar: Celo", "names 'Celo', which is not a class of M: did you mean 'Cello'"),
        ("guitar: 3", "maps 'guitar' to 3, expected a class of the model, a list of them, or null"),
        ("guitar: Cello\ncello: Cello\nguitar: Singing", "map.yaml is not YAML: a name is given twice in line 3"),
        ("!!map [a]", "map.yaml is not YAML"),
        ("", "map.yaml must contain lines of `name: value`, found nothing"),
        ("MM:\n  guitar: Cello", "names 'MM', which is not a model that is evaluated"),
    ],
)
def test_mistakes_in_a_label_map_are_refused(tmp_path, text, sentence):
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_given_map(
            tmp_path / "map.yaml",
            LabelSpace(("guitar", "cello"), SINGLE_LABEL),
            {"M": LabelSpace(AUDIOSET, MULTI_LABEL)},
        )


def test_overlapping_classes_are_refused_and_equal_ones_merged():
    given = {"guitar": ["Acoustic guitar", "Electric guitar"], "acoustic": ["Acoustic guitar"]}
    with pytest.raises(InputError, match=r"'Acoustic guitar' of M .* 'guitar' and 'acoustic'"):
        mapped(AUDIOSET, ("guitar", "acoustic", "cello"), given)
    one = mapped(
        ("strings", "wind"),
        ("violin", "cello", "flute"),
        {"violin": ["strings"], "cello": ["strings"], "flute": ["wind"]},
    )
    assert one.labels.names == ("violin / cello", "flute")
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [np.nan, 0, 1], [1, np.nan, 0]], dtype=np.float32)
    np.testing.assert_array_equal(one.targets(targets), [[1, 0], [1, 0], [0, 1], [np.nan, 1], [1, 0]])


def test_models_that_share_no_class_are_refused():
    with pytest.raises(InputError, match=r"M \(a, b\) and D \(x, y\) share no class .* give --label_map"):
        mapped(("a", "b"), ("x", "y"))
    with pytest.raises(InputError, match="share only one class"):
        mapped(("a", "b"), ("a", "y"))
    assert len(mapped(("a", "b"), ("a", "y"), task=MULTI_LABEL).labels) == 1


def test_mapped_logits_equal_the_models_answers_for_the_data_classes():
    logits = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    single, several = (LabelSpace(("a", "b", "c", "d"), task) for task in (SINGLE_LABEL, MULTI_LABEL))
    softmax, sigmoid = single.probabilities(logits), several.probabilities(logits)
    given = {"x": ["a", "c"]}
    found = mapped(single.names, ("d", "x"), given, own=SINGLE_LABEL)
    among = found.labels.probabilities(found.logits(logits, single))
    wanted = np.stack([softmax[:, 3], softmax[:, 0] + softmax[:, 2]], axis=1)
    np.testing.assert_allclose(among, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)
    found = mapped(single.names, ("d", "x"), given, task=MULTI_LABEL, own=SINGLE_LABEL)
    np.testing.assert_allclose(found.labels.probabilities(found.logits(logits, single)), wanted, atol=1e-6)
    found = mapped(several.names, ("d", "x"), given, task=MULTI_LABEL)
    wanted = np.stack([sigmoid[:, 3], np.maximum(sigmoid[:, 0], sigmoid[:, 2])], axis=1)
    np.testing.assert_allclose(found.labels.probabilities(found.logits(logits, several)), wanted, atol=1e-6)
    same = mapped(single.names, single.names, own=SINGLE_LABEL)
    np.testing.assert_array_equal(same.logits(logits, single), logits)
