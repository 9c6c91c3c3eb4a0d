"""Distillation: the teacher gets the model's inputs, and its answers count for the classes that both know."""

from __future__ import annotations

import copy
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from training_run import CLASSES, batch_of, tiny_model, trainer_of
from transformers import Wav2Vec2FeatureExtractor

from hf_audio import InputError, parse_recipe
from hf_audio.config import DistillingConfig
from hf_audio.data.index.columns import with_values
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.loading.training_digests import write_training_data
from hf_audio.losses.distilling import sigmoid_distance, softmax_distance
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.predictor import Predictor
from hf_audio.stages import evaluate_run, prepare_features, prepare_model, publish_run, train_model
from hf_audio.training import Classification
from hf_audio.training.distillation import Distillation
from hf_audio.training.network_teacher import NetworkTeacher
from hf_audio.training.objective import Places
from hf_audio.training.teachers import distillation_for, require_teacher


def teacher_of(features, extractor=None, labels=None, seed=3) -> NetworkTeacher:
    """A tiny network with random weights, fixed by the seed."""
    extractor = extractor or features.extractor
    like = dataclasses.replace(features, extractor=extractor, labels=labels or features.labels)
    model = tiny_model(like, seed=seed)
    with torch.no_grad():
        model.classifier.dense.weight.mul_(20)  # initial weights are so small that all logits are near 0
    return NetworkTeacher(Predictor(model, extractor, name="t"), None, features)


def test_distances_equal_their_formulas():
    random = np.random.default_rng(0)
    own, taught = random.normal(size=(2, 5, 4)).astype(np.float32)
    wanted, found = softmax(taught / 3, axis=1), log_softmax(own / 3, axis=1)
    kl = (wanted * (log_softmax(taught / 3, axis=1) - found)).sum(axis=1) * 9
    one, two = torch.from_numpy(own), torch.from_numpy(taught)
    np.testing.assert_allclose(softmax_distance(one, two, 3.0), kl, rtol=1e-4)
    probable, said = (1 / (1 + np.exp(-values / 3)) for values in (taught, own))
    binary = -(probable * np.log(said) + (1 - probable) * np.log(1 - said)).mean(axis=1) * 9
    np.testing.assert_allclose(sigmoid_distance(one, two, 3.0), binary, rtol=1e-4)
    for distance in (softmax_distance, sigmoid_distance):
        same = two.double().requires_grad_()
        distance(same, two.double(), 3.0).sum().backward()
        assert same.grad.abs().max() < 1e-6, "equal answers have no gradient"
        assert torch.autograd.gradcheck(lambda x, d=distance: d(x, two.double(), 2.0), one.double().requires_grad_())


def test_a_teachers_answers_for_a_batch_equal_those_for_stored_windows(tiny_features):
    """The teacher has other statistics and a longer window. Windows have the model's length, and some are padded."""
    other = copy.deepcopy(tiny_features.extractor)
    other.mean, other.std, other.max_length = 1.5, 2.5, other.max_length + 20
    teacher = teacher_of(tiny_features, other)
    alone = dataclasses.replace(tiny_features, extractor=copy.deepcopy(tiny_features.extractor))
    wanted = teacher.predictor.window_scores(alone, "train").logits
    batch = batch_of(tiny_features, "train")
    assert (batch["num_frames"] < tiny_features.extractor.max_length).any()
    np.testing.assert_allclose(teacher.answers(batch), wanted, rtol=1e-4, atol=1e-4)
    assert np.ptp(wanted) > 0.1


def test_the_teacher_gets_the_augmented_batch_and_is_not_trained(tiny_features, tmp_path):
    class Louder:
        def draw(self, places):
            return None

        def __call__(self, inputs, targets, num_frames, draws):
            return inputs + 0.5, targets, num_frames

    teacher, model, heard = teacher_of(tiny_features), tiny_model(tiny_features), {}
    for name, one in (("teacher", teacher.model), ("model", model)):
        heard[name] = []
        one.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: heard[name].append(kwargs["input_values"]), with_kwargs=True
        )
    before = {name: weights.clone() for name, weights in teacher.model.state_dict().items()}
    objective = {"augment": Louder(), "distillation": Distillation(teacher, tiny_features.labels)}
    trainer = trainer_of(tiny_features, tmp_path, model, {"max_steps": 2, "eval_strategy": "no"}, objective)
    trainer.train()
    assert len(heard["teacher"]) == 2 and all(map(torch.equal, heard["teacher"], heard["model"]))
    assert all(torch.equal(before[name], weights) for name, weights in teacher.model.state_dict().items())
    assert not teacher.model.training and all(weights.grad is None for weights in teacher.model.parameters())
    trainer.evaluate()
    assert len(heard["teacher"]) == 2, "evaluation does not use the teacher"


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_a_model_learns_the_answers_of_its_teacher(tiny_folders, tmp_path, task):
    """With the teacher alone it learns answers that the labels do not contain."""
    features = load_features(tiny_folders[task])
    teacher = teacher_of(features)

    def distance(model) -> float:
        batch = batch_of(features, "validation")
        with torch.no_grad():
            own, said = (
                one.softmax(1) if task == SINGLE_LABEL else one.sigmoid()
                for one in (model.eval()(batch["input_values"]).logits, teacher.answers(batch))
            )
        return (own - said).abs().mean().item()

    found = {}
    for name, weight in (("labels", None), ("teacher", 1.0)):
        model = tiny_model(features)
        distillation = weight and Distillation(teacher, features.labels, weight)
        arguments = {"max_steps": 40, "learning_rate": 3e-3, "eval_strategy": "no", "save_strategy": "no"}
        trainer_of(features, tmp_path / name, model, arguments, {"distillation": distillation}).train()
        found[name] = distance(model)
    assert found["teacher"] < min(0.5 * found["labels"], 0.8 * distance(tiny_model(features))), found


def test_classes_unknown_to_the_teacher_are_learned_from_labels(tiny_features, caplog):
    theirs = LabelSpace(("drill", "hum", "bell"), SINGLE_LABEL)
    teacher = teacher_of(tiny_features, labels=theirs)
    distillation = Distillation(teacher, tiny_features.labels, weight=0.25, temperature=2.0)
    assert distillation.shared == ["bell", "hum"]
    assert "The teacher t knows 2 of 3 classes, not hiss" in caplog.text
    batch = batch_of(tiny_features, "validation")
    answers = distillation.answers(batch, batch["labels"])
    assert torch.equal(answers.logits, teacher.answers(batch)[:, [2, 1]])
    is_hiss = batch["labels"][:, CLASSES.index("hiss")] == 1
    logits, losses = torch.randn(len(is_hiss), 3), torch.rand(len(is_hiss))
    blended = distillation.blended(losses, logits, answers)
    assert is_hiss.any() and torch.equal(blended[is_hiss], losses[is_hiss])
    taught = softmax_distance(logits[:, [0, 2]], answers.logits, 2.0)
    torch.testing.assert_close(blended[~is_hiss], (0.75 * losses + 0.25 * taught)[~is_hiss])


def test_unknown_labels_are_taught_too(tiny_folders):
    """The teacher also has answers for unknown labels, and the loss stays finite."""
    features = load_features(tiny_folders[MULTI_LABEL])
    batch = batch_of(features, "train")
    batch["labels"][:, 0] = torch.nan
    objective = Classification(features, distillation=Distillation(teacher_of(features), features.labels))
    model = tiny_model(features)
    objective.attach(model)
    losses = objective.losses(model, batch, Places(0, 0, range(len(batch["labels"]))))
    losses.sum().backward()
    assert losses.isfinite().all() and model.classifier.dense.weight.grad[0].abs().sum() > 0


def test_distillation_is_refused_for_heads_with_a_margin(tiny_features):
    model, objective = (
        tiny_model(tiny_features),
        Classification(tiny_features, distillation=Distillation(teacher_of(tiny_features), tiny_features.labels)),
    )
    objective.attach(model)
    model.config.head = "arcface"
    with pytest.raises(InputError, match="--head arcface lowers the logit"):
        objective.attach(model)


def test_model_and_teacher_must_have_the_same_metadata(tiny_features):
    """A batch contains indices of metadata values, so a teacher with another list of values is refused."""
    model, teacher = tiny_model(tiny_features), teacher_of(tiny_features)
    teacher.model.config.metadata = {"room": ["hall", "studio"]}
    objective = Classification(tiny_features, distillation=Distillation(teacher, tiny_features.labels))
    for same in ({}, {"room": ["hall", "studio"]}):
        model.config.metadata = same
        objective.attach(model)
    for other in ({"room": ["studio"]}, {"mood": ["hall", "studio"]}):
        model.config.metadata = other
        with pytest.raises(
            InputError, match=r"t reads different metadata \(room: hall, studio\) than the model \(.*studio"
        ):
            objective.attach(model)


@pytest.mark.parametrize(
    ("theirs", "sentence"),
    [
        (
            LabelSpace(("Bell", "dog"), SINGLE_LABEL),
            "knows none of this run's classes: its classes are Bell, dog, and the run's are",
        ),
        (LabelSpace(CLASSES, MULTI_LABEL), "is multi-label and this run is single-label, .* with --several_labels"),
        (LabelSpace(("bell", "dog"), SINGLE_LABEL), "knows only 'bell' of this run's classes"),
    ],
)
def test_a_teacher_of_other_classes_is_refused(tiny_features, theirs, sentence):
    with pytest.raises(InputError, match=sentence):
        Distillation(teacher_of(tiny_features, labels=theirs), tiny_features.labels)


def test_a_multi_label_teacher_must_know_all_classes_if_labels_are_ignored(tiny_folders):
    features = load_features(tiny_folders[MULTI_LABEL])
    some = features.labels.names[:2]
    teacher = teacher_of(features, labels=LabelSpace(some, MULTI_LABEL))
    Distillation(teacher, features.labels, weight=0.9)
    with pytest.raises(InputError, match=f"ignores the labels, but the teacher t does not know {CLASSES[2]}"):
        Distillation(teacher, features.labels, weight=1.0)


def test_a_teacher_with_other_features_is_refused(tiny_features, tmp_path):
    def refused(extractor) -> str:
        with pytest.raises(InputError) as error:
            NetworkTeacher(Predictor(tiny_model(tiny_features), extractor, name="t"), None, tiny_features)
        return str(error.value)

    shorter, finer = (copy.deepcopy(tiny_features.extractor) for _ in range(2))
    shorter.max_length, finer.num_mel_bins = 10, 64
    assert "are longer (38 frames) than those of the teacher t (10)" in refused(shorter)
    assert "num_mel_bins is 32, expected 64" in refused(finer)
    assert "t reads waveforms, but the model reads log-mel spectrograms" in refused(Wav2Vec2FeatureExtractor())
    model = tiny_model(tiny_features)
    save_model(model, tmp_path / "t")
    save_extractor(finer, tmp_path / "t")
    config = DistillingConfig(teacher=str(tmp_path / "t"))
    with pytest.raises(InputError, match="needs different features than the model"):
        require_teacher(config, tiny_features.labels, tiny_features.extractor)
    save_extractor(tiny_features.extractor, tmp_path / "t")
    require_teacher(config, tiny_features.labels, tiny_features.extractor)
    assert distillation_for(DistillingConfig(), tiny_features) is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--distillation_weight", "0.3"], "--distillation_weight would do nothing here: there is no teacher"),
        (["--teacher_revision", "main"], "give --teacher or --teacher_logits too"),
        (["--teacher", "a/b", "--teacher_logits", "a/c"], "leave one of the two out"),
        (["--teacher", "a/b", "--distillation_weight", "0"], "leave it out, and --teacher too"),
        (
            ["--teacher", "a/b", "--distillation_weight", "1.5"],
            "--distillation_weight must be a number, between 0 and 1",
        ),
        (["--teacher", "a/b", "--distillation_temperature", "0"], "--distillation_temperature must be a number"),
    ],
)
def test_settings_without_effect_are_refused(flags, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe({"output_dir": "x", "corpus": "irmas"}, argv=flags)


def trained_on_another_split(features):
    """As if two of the five test clips had been in the train split."""
    clips = features.clips()
    places = [place for place, split in enumerate(clips["split"].to_pylist()) if split == "test"][:2]
    splits = ["train" if place in places else "test" for place in range(len(clips))]
    return SimpleNamespace(clips=lambda: with_values(clips, "split", splits), splits={}, manifest=features.manifest)


def test_a_teacher_that_was_trained_on_test_clips_is_told(published_teacher, tiny_features, tmp_path, caplog):
    teacher = NetworkTeacher.load(str(tmp_path / "teacher"), tiny_features, device="cpu")
    assert teacher.facts()["seen_clips"] == {"test": 2}
    assert "/teacher was trained on 2 test clips of this run, or on others of their groups" in caplog.text
    recipe = parse_recipe(
        {"output_dir": str(tmp_path / "run"), "model": str(tmp_path / "teacher"), "corpus": "irmas"}, argv=[]
    )
    prepare_model(recipe, tiny_features)
    assert "teacher was trained on 2 test clips" in caplog.messages[-1] and "--model" in caplog.messages[-1]
    caplog.clear()
    write_training_data(tmp_path / "teacher", tiny_features)
    of_the_same_split = NetworkTeacher.load(str(tmp_path / "teacher"), tiny_features, device="cpu")
    assert "seen_clips" not in of_the_same_split.facts() and not caplog.text


@pytest.fixture
def published_teacher(hub, tiny_features, tmp_path):
    """A teacher on the Hub, with a license."""
    save_model(teacher_of(tiny_features).model, tmp_path / "teacher")
    save_extractor(tiny_features.extractor, tmp_path / "teacher")
    write_training_data(tmp_path / "teacher", trained_on_another_split(tiny_features))
    files = {path.name: path.read_bytes() for path in (tmp_path / "teacher").iterdir()}
    card = b"---\nlicense: cc-by-nc-4.0\n---\n# A teacher\n"
    return hub.create("models", "bob/teacher", {**files, "README.md": card})


def test_a_run_reports_its_teacher_and_resumes_only_with_the_same(published_teacher, tiny_folders, tmp_path, token):
    values = {"output_dir": str(tmp_path / "run"), "model": "ast-mini", "max_steps": 2, "report_to": "none"}
    options = '{"hidden_size": 32, "num_layers": 1, "num_heads": 2}'
    flags = ["--dataset", str(tiny_folders[SINGLE_LABEL]), "--model_options", options, "--use_cpu"]
    flags += ["--per_device_train_batch_size", "4", "--teacher", "bob/teacher", "--distillation_weight", "0.75"]

    def run(*more: str):
        recipe = parse_recipe({**values, "num_mel_bins": 32}, argv=[*flags, *more])
        features = prepare_features(recipe)
        trainer = train_model(recipe, prepare_model(recipe, features), features)
        report = evaluate_run(recipe, trainer)
        publish_run(recipe, trainer, report)
        return report

    report = run()
    commit = published_teacher.resolve().oid
    said = report["training"]["settings"]["distillation"]
    assert said["teacher"] == "bob/teacher" and said["commit"] == commit and said["license"] == "cc-by-nc-4.0"
    assert said["shared_classes"] == 3 and said["weight"] == 0.75 and said["temperature"] == 2.0
    assert "--teacher bob/teacher --distillation_weight 0.75" in report["command"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "distillation weight 0.75 |" in card
    assert "[bob/teacher]" in card and commit in card and "cc-by-nc-4.0" in card
    assert "The teacher was trained on 2 of the test clips, or on other clips of their groups" in report["notes"][-1]
    assert report["notes"][-1] in card
    assert json.loads((tmp_path / "run" / "checkpoints" / "run.json").read_text())["distillation"] == said

    published_teacher.commit({"README.md": b"---\nlicense: mit\n---\n"})
    with pytest.raises(InputError, match=r"differs in: distillation\.commit, distillation\.license was 'cc-by-nc-4.0'"):
        run()
    assert run("--teacher_revision", commit)["training"]["steps"] == 2
