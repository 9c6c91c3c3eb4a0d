"""AudioTrainer: its inputs, its scores, and what it refuses. See also test_resuming_training.py."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from training_run import batch_of, tiny_model, trainer_of
from transformers import ASTFeatureExtractor, AutoFeatureExtractor, AutoModelForAudioClassification, TrainerCallback

from hf_audio.augment import Compose, FrequencyMixStyle, Normalization
from hf_audio.config import LossConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.losses import loss_for


class Spy(TrainerCallback):
    """Records the inputs of the model and the gradients of each step."""

    def __init__(self, model):
        self.calls, self.gradients = [], []
        model.register_forward_pre_hook(lambda _, args, kwargs: self.calls.append((args, kwargs)), with_kwargs=True)

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_it_learns_and_saves_a_stock_model(tiny_folders, tmp_path, task):
    features = load_features(tiny_folders[task])
    arguments = {"num_train_epochs": 8, "learning_rate": 3e-3, "report_to": "tensorboard"}
    trainer = trainer_of(features, tmp_path, arguments=arguments)
    untrained = trainer.evaluate()
    state = trainer.train_resumable()
    metric = "eval_mean_average_precision" if task == MULTI_LABEL else "eval_accuracy"
    assert trainer.args.metric_for_best_model == metric.removeprefix("eval_")
    assert state.best_metric > max(0.8, untrained[metric])
    assert state.best_metric == max(entry[metric] for entry in state.log_history if metric in entry)
    model = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    assert model.config.id2label == features.labels.id2label and model.config.problem_type == task
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(extractor) is ASTFeatureExtractor and extractor.to_dict() == features.extractor.to_dict()
    assert list((tmp_path / "tensorboard").glob("events.*"))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("checkpoints", "tensorboard", "config.json", "model.safetensors", "preprocessor_config.json")
    }


def test_any_metric_can_choose_the_best_checkpoint(tiny_features, tmp_path):
    for metric, greater_is_better in (("f1_macro", True), ("hamming_loss", False), ("loss", False)):
        args = trainer_of(tiny_features, tmp_path, arguments={"metric_for_best_model": metric}).args
        found = (args.load_best_model_at_end, args.metric_for_best_model, args.greater_is_better)
        assert found == (True, metric, greater_is_better)


def test_evaluation_scores_clips_and_its_loss_is_over_all_windows(tiny_features, tmp_path):
    trainer = trainer_of(tiny_features, tmp_path, arguments={"per_device_eval_batch_size": 4})
    metrics = trainer.evaluate()
    batch = batch_of(tiny_features, "validation")
    with torch.no_grad():
        logits = trainer.model(batch["input_values"]).logits
    loss = loss_for(tiny_features.labels)(logits, batch["labels"])
    assert metrics["eval_loss"] == pytest.approx(loss.item(), rel=1e-5)
    clips = trainer.predictor().scores(tiny_features, "validation")
    assert len(clips) == 7 and len(logits) == 13
    first = batch["clip_keys"] == clips.clip_keys[0]
    assert first.sum() == 2
    np.testing.assert_allclose(clips.logits[0], logits[first].mean(0), rtol=1e-4, atol=1e-6)
    assert metrics["eval_accuracy"] == pytest.approx((clips.logits.argmax(1) == clips.targets.argmax(1)).mean())
    with pytest.raises(InputError, match=r"Unknown local split 'tets': did you mean 'test'\?"):
        trainer.predictor().scores(tiny_features, "tets")


def test_evaluation_includes_windows_dropped_in_training(tiny_features, tmp_path):
    """Trainer would leave out the last windows of every split, or all of a small one."""
    arguments = [{"dataloader_drop_last": drop, "per_device_eval_batch_size": 64} for drop in (False, True)]
    trainers = [trainer_of(tiny_features, tmp_path / str(one), arguments=kept) for one, kept in enumerate(arguments)]
    for split in ("validation", "test"):
        losses = [trainer.evaluate(tiny_features.splits[split])["eval_loss"] for trainer in trainers]
        assert losses[0] == losses[1]
    assert trainers[0].evaluate()["eval_loss"] == trainers[1].evaluate()["eval_loss"]
    assert trainers[1].args.dataloader_drop_last


def test_each_split_is_scored_on_its_own_windows_also_with_persistent_workers(tiny_features, tmp_path):
    arguments = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 2}
    trainer = trainer_of(tiny_features, tmp_path, arguments=arguments)
    assert trainer.evaluate()["eval_loss"] != trainer.evaluate(tiny_features.splits["test"])["eval_loss"]
    predictor = trainer.predictor()
    assert [len(predictor.scores(tiny_features, split)) for split in ("validation", "test", "train")] == [7, 5, 21]


def test_the_model_gets_only_features_augmented_only_in_training(tiny_features, tmp_path):
    model = tiny_model(tiny_features)
    spy, seen = Spy(model), []

    class Louder:
        def draw(self, places):
            seen.extend(places)

        def __call__(self, inputs, targets, num_frames, draws):
            return inputs + 100, targets, num_frames

    arguments = {"max_steps": 2, "gradient_accumulation_steps": 2}
    trainer = trainer_of(tiny_features, tmp_path, model, arguments, {"augment": Louder()}, callbacks=[spy])
    trainer.train()
    assert {(args, *kwargs) for args, kwargs in spy.calls} == {((), "input_values")}
    augmented = [kwargs["input_values"].mean().item() > 50 for _, kwargs in spy.calls]
    assert augmented[:4] == [True] * 4 and not any(augmented[4:]) and len(augmented) > 4
    size = trainer.args.train_batch_size
    wanted = [(trainer.args.seed, step, place) for step in range(2) for place in range(2 * size)]
    assert seen == wanted, "windows are drawn for by their place in the global batch of the step"


def test_a_smaller_last_micro_batch_is_weighted_by_its_size(tiny_features, tmp_path):
    """7 windows in batches of 2, 2, 2 and 1: one step on their plain mean, which is not the mean of four means."""
    few = dataclasses.replace(tiny_features, splits={"train": tiny_features.splits["train"].select(range(7))})
    model = tiny_model(tiny_features)
    spy = Spy(model)
    arguments = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "max_grad_norm": 0.0}
    trainer = trainer_of(few, tmp_path, model, {**arguments, "num_train_epochs": 1}, callbacks=[spy])
    trainer.train()
    batch, model = batch_of(few, "train"), tiny_model(tiny_features)
    loss_for(tiny_features.labels)(model(batch["input_values"]).logits, batch["labels"]).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert len(spy.gradients) == 1
    torch.testing.assert_close(spy.gradients[0], expected, rtol=1e-5, atol=1e-5)


def test_bf16_trains_close_to_float32(tiny_features, tmp_path):
    losses = []
    for bf16 in (False, True):
        model = tiny_model(tiny_features)
        spy = Spy(model)
        arguments = {"bf16": bf16, "max_steps": 3, "eval_strategy": "no", "save_strategy": "no"}
        trainer = trainer_of(tiny_features, tmp_path / str(bf16), model, arguments, callbacks=[spy])
        before = trainer.evaluate()["eval_loss"]  # evaluating first must neither cast twice nor disable the cast
        trainer.train()
        losses.append([before, *(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)])
        assert spy.gradients[0].dtype == torch.float32 and model.dtype == torch.float32
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]


def test_early_stopping_without_scores_is_refused(tiny_features, tmp_path):
    with pytest.raises(InputError, match="Early stopping needs scores, found --eval_strategy no"):
        trainer_of(tiny_features, tmp_path, arguments={"eval_strategy": "no"}, early_stopping_patience=2)


@pytest.mark.parametrize(("size", "least"), [(1, 2), (2, 3)])
def test_windows_without_the_partners_that_they_need_are_refused(tiny_features, tmp_path, size, least):
    mixing = Compose((FrequencyMixStyle(0.3),), Normalization.of(tiny_features.extractor))
    objective = {"augment": mixing} if size == 1 else {"loss": LossConfig(triplet_weight=0.1)}
    with pytest.raises(InputError, match=f"which has {size}: use --per_device_train_batch_size {least} or more"):
        trainer_of(tiny_features, tmp_path, None, {"per_device_train_batch_size": size}, objective)


def test_a_folder_that_cannot_be_written_is_one_sentence(tiny_features, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write to .*file/run \(Not a directory\): use another --output_dir"):
        trainer_of(tiny_features, tmp_path / "file" / "run")
