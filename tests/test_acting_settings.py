"""A setting without effect is an error that says what to do. Reports contain the settings that had an effect."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings

import pytest
from transformers import ASTConfig, ASTFeatureExtractor, TrainingArguments

import hf_audio
from hf_audio import InputError, parse_recipe
from hf_audio.config.reported import reported_settings
from hf_audio.models.spectrogram_cnn import SpectrogramCNNConfig
from hf_audio.training import argument_roles

VALUES = {"output_dir": "runs/x", "corpus": "irmas", "mix_fraction": 0.5, "mix_labels": 3, "fold": "2"}
CLASSICAL_MODEL = {"output_dir": "runs/x", "classical_model": "svm", "features": "classical"}
PRETRAINING = {"output_dir": "runs/x", "objective": "masked"}


REENTRANT = ["--gradient_checkpointing", "--gradient_checkpointing_kwargs", '{"use_reentrant": true}']


def test_supported_optimizers_and_schedules_are_accepted():
    for flags in (
        "--optim sgd --optim_args momentum=0.9",
        "--adam_beta1 0.8",
        "--lr_scheduler_type reduce_lr_on_plateau --metric_for_best_model loss",
        "--lr_scheduler_type constant_with_warmup --warmup_steps 5",
        "--max_steps -1 --num_train_epochs 5",
        "--lr_schedule one_cycle --warmup_steps 0.3",
    ):
        assert parse_recipe(VALUES, argv=flags.split()).training.optim
    recipe = parse_recipe(
        VALUES, argv=["--lr_scheduler_type", "cosine_with_min_lr", "--lr_scheduler_kwargs", '{"min_lr": 1e-5}']
    )
    assert recipe.training.lr_scheduler_kwargs == {"min_lr": 1e-5}


def test_each_training_argument_has_one_role():
    """Fails if a new release of transformers adds an argument: then give it a role."""
    fields = [field.name for field in dataclasses.fields(TrainingArguments)]
    roles = [
        *argument_roles.DECISIVE_ARGUMENTS,
        *argument_roles.BATCH_ARGUMENTS,
        *argument_roles.MACHINE_ARGUMENTS,
        *argument_roles.PUBLISHING_ARGUMENTS,
        *argument_roles.REFUSED_ARGUMENTS,
    ]
    assert len(roles) == len(set(roles))
    assert set(fields) <= set(roles), "older releases have fewer"


@pytest.mark.parametrize("name", sorted(argument_roles.REFUSED_ARGUMENTS))
def test_training_arguments_without_effect_are_refused_even_at_their_default(name):
    default = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}[name]
    for value in (str(default), "1"):
        with pytest.raises(InputError) as error:
            parse_recipe(VALUES, argv=[f"--{name}", value])
        if not re.match(rf"Unknown --{name} |--{name} must be", str(error.value)):
            assert f"--{name} is not supported: " in str(error.value)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--resume_from_checkpoint", "/nowhere"], "--resume_from_checkpoint is not supported: a run resumes"),
        (["--do_train", "false"], "--do_train is not supported: a recipe always trains, evaluates and tests"),
        (["--metric_for_best_model", "f1"], "--metric_for_best_model f1 is not computed: .* f1_macro"),
        (["--report_to", "neptune"], "--report_to neptune needs a package that is not installed"),
        (["--report_to", "tensorbord"], "did you mean 'tensorboard'"),
        (["--seed", "-1"], "--seed must be a whole number of 0 or more, found -1"),
        (["--seed", str(2**32)], "--seed must be at most"),
        (["--per_device_train_batch_size", "0"], "--per_device_train_batch_size must be a whole number of 1 or more"),
        (["--gradient_accumulation_steps", "0"], "--gradient_accumulation_steps must be a whole number of 1 or more"),
        (["--num_train_epochs", "0"], "--num_train_epochs must be above 0"),
        (["--max_steps", "0"], "--max_steps must be 1 or more, or -1 to use --num_train_epochs, found 0"),
        (["--learning_rate", "nan"], "--learning_rate must be 0 or more, found nan"),
        (["--label_smoothing_factor", "1"], "--label_smoothing_factor must be below 1"),
        (["--optim", "adamm"], "adamm"),
        (["--accelerator_config", "x.json"], "--accelerator_config is not supported: it is always set"),
        (["--eval_steps", "5"], "--eval_steps would have no effect here: it only applies to --eval_strategy steps"),
        (["--save_steps", "5"], "--save_steps would have no effect here"),
        (["--lora_alpha", "5"], "--lora_alpha would have no effect here: give --lora_rank too"),
        (["--mixup_labels", "union"], "mixup is off: give --mixup_alpha too"),
        (["--noise_snr_db", "5"], "give --noise_probability too"),
        (["--batch_mix_max_windows", "3"], "give --batch_mix_probability too"),
        (["--mix_fraction", "0", "--mix_seed", "3"], "--mix_seed would have no effect here: mixing is off"),
        (["--streaming", "false"], "--streaming would have no effect here: it only applies to a --dataset of features"),
        (["--hub_model_id", "me/x"], "nothing is published without --push_to_hub"),
        (["--greater_is_better", "true"], "it only applies to --metric_for_best_model"),
        (["--load_best_model_at_end", "false"], "--load_best_model_at_end is not supported: the best model"),
        (["--train_sampling_strategy", "group_by_length"], "must be random or sequential"),
        (
            ["--max_steps", "5", "--num_train_epochs", "3"],
            "--num_train_epochs would have no effect here: --max_steps already sets",
        ),
        (
            ["--eval_delay", "3", "--eval_strategy", "no"],
            "--eval_delay would have no effect here: nothing is evaluated",
        ),
        (["--gradient_checkpointing_kwargs", "{}"], "give --gradient_checkpointing too"),
        (["--optim_args", "alpha=2"], "--optim_args alpha=2 has no effect: --optim adamw_torch"),
        (["--optim_target_modules", "x"], "it only applies to --optim galore_adamw, apollo_adamw or similar"),
        (["--mixup_alpha", "0.2", "--mixup_probability", "0"], "--mixup_probability 0 mixes nothing"),
        (["--data_dir", "a", "b", "./a"], "--data_dir ./a is given twice"),
        (["--dataset", "me/x", "me/x"], "--dataset me/x is given twice"),
        (["--project", "x"], "it only applies to --report_to trackio"),
        (["--run_name", "x"], "no tracker in --report_to uses run names"),
        (["--fsdp_config", "{}"], "it only applies to --fsdp"),
        (["--fsdp", "full_shard"], "--fsdp shards a model across processes, but this run has only one"),
        (["--bf16_full_eval", "true"], "--bf16_full_eval is not supported: clips are scored in bfloat16 on a GPU"),
        (REENTRANT, "use_reentrant in --gradient_checkpointing_kwargs would leave"),
        (["--lr_scheduler_type", "constant", "--warmup_steps", "5"], "this --lr_scheduler_type has no warm-up"),
        (["--lr_scheduler_kwargs", '{"foo": 1}'], "--lr_scheduler_type cosine does not work with .*'foo'"),
        (
            ["--lr_scheduler_type", "cosine_with_min_lr"],
            "work with --lr_scheduler_kwargs None: One of min_lr",
        ),
        (["--optim", "adamw_bnb_8bit"], "--optim adamw_bnb_8bit needs a package that is not installed"),
        (
            ["--save_strategy", "no", "--metric_for_best_model", "accuracy"],
            "set both --eval_strategy and --save_strategy to epoch",
        ),
        (["--dataloader_num_workers", "2", "--dataloader_prefetch_factor", "0"], "must be a whole number of 1 or more"),
        (["--optim", "lomo"], "--optim lomo needs a package that is not installed"),
        (["--optim_args", "a=b"], "--optim_args a=b has no effect: --optim adamw_torch"),
        (["--optim_args", "a"], "does not work with --optim_args a, expected NAME=VALUE"),
        (["--optim", "sgd", "--adam_beta1", "0.5"], "--adam_beta1 has no effect: --optim sgd does not use it"),
        (["--eval_strategy", "no", "--early_stopping_patience", "2"], "nothing is evaluated during training"),
        (["--early_stopping_patience", "-1"], "--early_stopping_patience must be a number, 0 or more, found -1"),
        (["--noise_probability", "2"], "--noise_probability must be a number, between 0 and 1, found 2"),
        (["--wave_noise_probability", "0.5"], "it needs waveforms.* give --features_on_device too"),
        (
            ["--features", "waveform", "--wave_noise_snr_db", "5", "9"],
            "--wave_noise_snr_db would have no effect here: --wave_noise_probability is 0: give it too",
        ),
        (["--mixup_alpha", "-1"], "--mixup_alpha must be a number, 0 or more"),
        (["--gain_db", "inf"], "--gain_db must be a number, between 0 and 100, found inf"),
        (["--equalizer_db", "nan"], "--equalizer_db must be a number, between 0 and 100, found nan"),
        (
            ["--head", "linear", "--model_options", '{"head": "deep"}'],
            "--head is linear and --model_options also has",
        ),
    ],
)
def test_invalid_settings_and_those_without_effect_are_refused_before_reading(argv, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe(VALUES, argv=argv)


def stored_features(folder):
    (folder / "F").mkdir()
    (folder / "F" / "manifest.json").write_text("{}")
    return str(folder / "F")


@pytest.mark.parametrize(
    "flags",
    [
        ("--label_overrides", "o.csv"),
        ("--fold", "1"),
        ("--fold", "2"),
        ("--split", "official"),
        ("--mix_fraction", "0.5"),
        ("--mix_seed", "3"),
        ("--clip_s", "1"),
        ("--data_dir", "x"),
        ("--corpus", "irmas"),
        ("--negatives", "esc50"),
        ("--features_dir", "x"),
        ("--strict",),
        ("--hub_dataset_id", "me/x", "--push_to_hub"),
        ("--split_seed", "3"),
    ],
    ids=" ".join,
)
def test_settings_of_recordings_are_refused_with_a_stored_dataset(flags, tmp_path):
    stored = stored_features(tmp_path)
    with pytest.raises(InputError, match=f"{flags[0]} would have no effect here: a stored --dataset already has"):
        parse_recipe(VALUES, argv=["--dataset", stored, *flags])
    (tmp_path / "c.yaml").write_text(f"{flags[0][2:]}: {flags[1] if len(flags) > 1 else 'true'}\n")
    with pytest.raises(InputError, match=f"{flags[0]} would have no effect here"):
        parse_recipe(VALUES, argv=["--dataset", stored, "--config", str(tmp_path / "c.yaml"), *flags[2:]])


def test_a_report_contains_the_settings_that_had_an_effect(tmp_path):
    of_recordings = reported_settings(parse_recipe(VALUES, argv=[]))
    assert of_recordings["corpus"]["corpus"] == "irmas" and of_recordings["mixing"]["mix_labels"] == 3
    assert "lora_alpha" not in of_recordings["model"] and "mixup_labels" not in of_recordings["augment"]
    features = stored_features(tmp_path)
    stored = reported_settings(
        parse_recipe(VALUES, argv=["--dataset", features, "--train_fraction", "0.5", "--split_seed", "3"]),
        ("features", "window_s"),
    )
    assert stored["split"] == {"train_fraction": 0.5, "split_seed": 3} and stored["building"] == {"num_workers": None}
    assert stored["corpus"] == {"dataset": "F", "dataset_revision": None} and "mixing" not in stored
    assert stored["features"].keys() == {"features", "window_s"}
    assert "irmas" not in json.dumps(stored)
    whole = reported_settings(parse_recipe(VALUES, argv=["--dataset", features]))
    assert whole["split"] == {"train_fraction": 1.0}


def test_scripts_check_their_settings_too():
    groups = (hf_audio.DataConfig, hf_audio.MixingConfig)
    with pytest.raises(InputError, match="--mix_seed would have no effect here: mixing is off"):
        hf_audio.parse_settings(*groups, values={}, argv=["--mix_seed", "3"])
    _, mixing = hf_audio.parse_settings(*groups, values={"mix_fraction": 0.5}, argv=["--mix_seed", "3"])
    assert mixing.mix_seed == 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"split": "rnadom"}, "Unknown --split 'rnadom': did you mean 'random'"),
        ({"test_fraction": 1.0}, "--test_fraction must be at least 0 and below 1, found 1"),
        ({"validation_fraction": -0.1}, "--validation_fraction must be at least 0"),
        ({"train_fraction": 0.0}, "--train_fraction must be above 0 and at most 1"),
        ({"split_seed": -1}, "--split_seed must be 0 or more"),
        ({"num_workers": 0}, "--num_workers must be 1 or more, found 0"),
        ({"clip_s": 0.0}, "--clip_s must be above 0"),
        ({"negatives_dir": "x"}, "without --negatives"),
        ({"split": "random", "fold": "1"}, "--fold 1 is an official fold"),
    ],
)
def test_each_group_checks_its_values_when_created(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        hf_audio.DataConfig(**settings)
    with pytest.raises(InputError, match=sentence):
        parse_recipe({"output_dir": "runs/x", **settings}, argv=[])


@pytest.mark.parametrize(
    ("values", "flags", "sentence"),
    [
        (PRETRAINING, ["--objective", "mask"], "Unknown --objective 'mask': did you mean 'masked'"),
        (PRETRAINING, ["--mask_fraction", "2"], "--mask_fraction must be a number, between 0 and 1, found 2"),
        (PRETRAINING, ["--decoder_width", "0"], "--decoder_width must be a number, 4 or more, found 0"),
        (CLASSICAL_MODEL, ["--classical_model", "boost"], "Unknown --classical_model 'boost'"),
        (VALUES, ["--svm_c", "1"], "Unknown flag '--svm_c': it is for classical models, .* trains a network; leave"),
        (CLASSICAL_MODEL, ["--model", "rnn"], "Unknown flag '--model': it is for networks, .* trains a classical mo"),
        (PRETRAINING, ["--svm_c=1"], "Unknown flag '--svm_c': it is for classical models"),
        (VALUES, ["--mask_fraction", "1"], "Unknown flag '--mask_fraction': it is for pretraining, .* with labels"),
    ],
)
def test_pretraining_and_classical_models_check_their_settings_too(values, flags, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe(values, argv=flags)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    """Configs and extractors of two trained models, without weights: refusing settings needs none."""
    folder = tmp_path_factory.mktemp("checkpoints")
    extractor = ASTFeatureExtractor()
    configs = {"ast": ASTConfig(), "cnn": SpectrogramCNNConfig(num_labels=2)}
    for name, config in configs.items():
        config.architectures = ["ASTForAudioClassification"] if name == "ast" else ["SpectrogramCNN"]
        config.save_pretrained(folder / name)
        extractor.save_pretrained(folder / name)
    return {f"{{{name}}}": str(folder / name) for name in configs}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model", "resnet5"], "Unknown model 'resnet5': did you mean 'resnet"),
        (["--freeze", "backbon"], "Unknown --freeze 'backbon': did you mean 'backbone'"),
        (["--head", "deap"], "Unknown --head 'deap': did you mean 'deep'"),
        (["--model", "cnn", "--head_sizes", "30"], "The linear head has no hidden layers, found sizes \\[30\\]"),
        (["--head", "deep", "--head_sizes", "0"], "--head_sizes must be layer sizes of 1 or more, found \\[0\\]"),
        (["--model", "cnn", "--model_options", '{"dropuot": 0.1}'], "Unknown model option of cnn 'dropuot'"),
        (["--model_options", '{"dropout": 0.1}'], "Unknown model option of ast-mini 'dropout'"),
        (["--model", "someone/ast", "--model_options", '{"poolin": "mean"}'], "someone/ast 'poolin': did you mean"),
        (["--model", "resnet18", "--model_options", '{"groups": 2, "head": "deap"}'], "Unknown head 'deap'"),
        (["--model", "cnn", "--lora_rank", "4"], "LoRA adapts a pretrained checkpoint, but cnn is untrained"),
        (["--model", "lstm", "--gradient_checkpointing"], "lstm does not support gradient checkpointing"),
        (
            ["--freeze", "convolutional"],
            "--freeze convolutional is for Wav2Vec2, similar models and Whisper",
        ),
        (["--model", "resnet18", "--freeze", "convolutional"], "found a network for images: use --freeze backbone"),
        (["--model_options", '{"stride": 0}'], "ast-mini cannot be built with .*stride"),
        (["--model", "cnn", "--model_options", '{"channels": [16, 32]}'], "cnn cannot be built with .*channels"),
        (["--model", "nowhere/ast"], "Cannot load checkpoint 'nowhere/ast'"),
        (["--model", "{ast}", "--freeze", "convolutional"], "found audio-spectrogram-transformer: use --freeze back"),
        (["--model", "{ast}", "--features", "waveform"], "The features are waveform .* give --features fbank"),
        (["--model", "{ast}", "--num_mel_bins", "64"], "num_mel_bins is 64, expected 128"),
        (["--model", "{ast}", "--model_options", '{"encoder": "convolutional"}'], "needs a model that reads waveforms"),
        (["--model", "{cnn}", "--head", "deep"], "keeps the settings it was trained with: remove head"),
        (["--model", "{cnn}", "--metadata", "genre"], "keeps the settings it was trained with: remove metadata"),
        (["--lora_rank", "4", "--freeze", "backbone"], "--freeze would have no effect here: --lora_rank trains only"),
    ],
)
def test_impossible_models_are_refused_before_features_are_built(flags, sentence, tmp_path, checkpoints, hub):
    flags = [checkpoints.get(flag, flag) for flag in flags]
    with pytest.raises(InputError, match=sentence):
        recipe = parse_recipe({"output_dir": str(tmp_path)}, argv=["--data_dir", str(tmp_path / "nothing"), *flags])
        hf_audio.prepare_features(recipe)


def test_a_license_unknown_to_the_hub_is_refused_before_training():
    assert parse_recipe({"output_dir": "x"}, argv=["--license", "CC BY-NC 4.0"]).hub.license == "cc-by-nc-4.0"
    with pytest.raises(InputError, match="is not a license that the Hub knows: did you mean 'apache"):
        parse_recipe({"output_dir": "x"}, argv=["--license", "aapche-2.0"])
    with pytest.raises(InputError, match=r"give its identifier, e\.g\. apache-2\.0, cc-by-4\.0 or mit, or other"):
        parse_recipe({"output_dir": "x"}, argv=["--license", "ours alone, ask us"])


def test_every_number_in_transformers_arguments_is_checked():
    """An invalid value of any accepted flag is refused at once, instead of failing after hours of training."""
    roles = {*argument_roles.DECISIVE_ARGUMENTS, *argument_roles.BATCH_ARGUMENTS, *argument_roles.MACHINE_ARGUMENTS}
    roles -= {"local_rank"}  # set by torch's launcher
    numbers = {
        one.name for one in dataclasses.fields(TrainingArguments) if "int" in str(one.type) or "float" in str(one.type)
    }
    flags = {f"--{name}": "-2" for name in numbers & roles} | {"--torch_compile_mode": "fastest"}
    for flag, value in flags.items():
        with pytest.raises(InputError, match=flag.removeprefix("--")):
            parse_recipe(
                {"output_dir": "x", "eval_strategy": "steps", "save_strategy": "steps"}, argv=[f"{flag}={value}"]
            )


def test_flags_of_networks_are_refused_with_a_classical_model():
    recipe = parse_recipe(CLASSICAL_MODEL, argv=["--seed", "3", "--report_to", "none"])
    assert recipe.training.seed == 3
    for flags in (
        ["--learning_rate", "1e-3"],
        ["--max_steps", "2"],
        ["--per_device_train_batch_size", "4"],
        ["--torch_compile"],
    ):
        with pytest.raises(InputError, match=f"{flags[0]} is for networks and has no effect with --classical_model"):
            parse_recipe(CLASSICAL_MODEL, argv=flags)
    with pytest.raises(InputError, match="--network_features would have no effect here: it only applies to --network"):
        parse_recipe(CLASSICAL_MODEL, argv=["--network_features", "x"])


def test_pretraining_refuses_flags_of_heads_and_of_other_objectives():
    with pytest.raises(InputError, match="--shuffle_fraction would have no effect here: it only applies to --obj"):
        parse_recipe(PRETRAINING, argv=["--shuffle_fraction", "0.2"])
    with pytest.raises(InputError, match="--class_weights would have no effect here: pretraining uses no labels"):
        parse_recipe(PRETRAINING, argv=["--class_weights", "balanced"])
    with pytest.raises(
        InputError, match="--time_mask_s would have no effect here: pretraining hides or shuffles patches"
    ):
        parse_recipe(PRETRAINING, argv=["--time_mask_s", "0.1"])
    with pytest.raises(InputError, match="--metric_for_best_model f1_macro is not computed"):
        parse_recipe(PRETRAINING, argv=["--metric_for_best_model", "f1_macro"])


def test_networks_without_gradient_checkpointing_refuse_it_before_building():
    from hf_audio import prepare_features

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the error is the only output
        recipe = parse_recipe(
            {"output_dir": "x", "data_dir": "/nowhere"}, argv=["--model", "lstm", "--gradient_checkpointing"]
        )
    with pytest.raises(
        InputError, match=r"lstm does not support gradient checkpointing: leave out --gradient_checkpointing"
    ):
        prepare_features(recipe)
