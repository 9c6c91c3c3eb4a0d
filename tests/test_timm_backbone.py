"""timm networks as backbones: shapes, freezing, saving and training, with timm's small networks for tests."""

import copy
import itertools

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification

from hf_audio.models.timm_backbone import TimmClassifier, TimmClassifierConfig
from hf_audio.models.timm_network import parameter_blocks

NAMES = ("test_resnet", "test_efficientnet", "test_convnext", "test_byobnet", "test_vit", "test_vit_relpos")
MAX_FRAMES, BINS = 98, 64


def config(name: str = "test_resnet", **settings) -> TimmClassifierConfig:
    settings = {"num_labels": 3, "max_frames": MAX_FRAMES, "num_mel_bins": BINS} | settings
    return TimmClassifierConfig(timm_name=name, **settings)


def windows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape or (4, MAX_FRAMES, BINS), generator=torch.Generator().manual_seed(seed))


def tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and all buffers, including those that are not saved."""
    return dict(itertools.chain(model.named_parameters(), model.named_buffers()))


def trained(model: TimmClassifier) -> TimmClassifier:
    """The model after one step in which every value has changed."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model(windows(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    optimizer.step()
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_windows_of_any_length_and_number_of_channels(name):
    for num_channels in (1, 2, 3):
        model = TimmClassifier(config(name, num_channels=num_channels)).eval()
        with torch.no_grad():
            for frames in (5, 37, MAX_FRAMES):
                mono = windows(2, frames, BINS)
                logits = model(mono).logits
                assert logits.shape == (2, 3) and logits.isfinite().all()
                every_channel = mono[:, None].expand(-1, num_channels, -1, -1)
                torch.testing.assert_close(model(every_channel).logits, logits)
    with pytest.raises(ValueError, match=r"found \[2, 4, 98, 64\]"):
        model(windows(2, 4, MAX_FRAMES, BINS))


def test_networks_of_fixed_size_refuse_longer_windows():
    assert TimmClassifier(config())(windows(1, 500, BINS)).logits.shape == (1, 3)
    with pytest.raises(ValueError, match="at most 128 frames and 64 bins, found 129 and 64"):
        TimmClassifier(config("test_vit"))(windows(1, 129, BINS))


def test_padding_to_a_multiple():
    model = TimmClassifier(config(size_multiple=32)).eval()
    padded = torch.nn.functional.pad(windows(2, 70, BINS), (0, 0, 0, 26))
    torch.testing.assert_close(model(windows(2, 70, BINS)).logits, model(padded).logits)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_initialized_as_by_timm(name):
    torch.manual_seed(0)
    model = TimmClassifier(config(name))
    torch.manual_seed(0)
    size = {"img_size": (128, 64)} if model.backbone.window else {}
    expected = timm.create_model(name, in_chans=1, num_classes=0, **size)
    for key, tensor in tensors(expected).items():
        assert torch.equal(tensor, tensors(model.backbone.network)[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    model = trained(TimmClassifier(config(name, head="deep", head_sizes=[8])))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert isinstance(loaded, TimmClassifier)
    found = tensors(loaded)
    assert found.keys() == tensors(model).keys()
    for key, tensor in tensors(model).items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0, msg=key)
    torch.testing.assert_close(loaded(windows()).logits, model(windows()).logits, rtol=0, atol=1e-6)


def test_weights_missing_in_a_checkpoint_are_initialized_as_by_timm(tmp_path):
    model = trained(TimmClassifier(config()))
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    lacking = [key for key in saved if ".layer4." in key or key.startswith("classifier")]
    save_file(
        {key: saved[key] for key in saved.keys() - set(lacking)}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    loaded = TimmClassifier.from_pretrained(tmp_path)
    assert torch.equal(
        loaded.backbone.network.layer3[0].bn1.running_mean, model.backbone.network.layer3[0].bn1.running_mean
    )
    fresh = loaded.backbone.network.layer4[0]
    assert torch.equal(fresh.bn1.running_var, torch.ones_like(fresh.bn1.running_var))
    assert torch.equal(fresh.bn1.weight, torch.ones_like(fresh.bn1.weight))
    scale = fresh.conv1.weight.std() * (fresh.conv1.out_channels * 9 / 2) ** 0.5  # He, by fan-out, as timm does
    assert 0.9 < scale < 1.1
    assert loaded.classifier.layers[0].weight.abs().max() <= 96**-0.5


class TestFreezing:
    @pytest.mark.parametrize(
        ("name", "last", "count"),
        [
            ("test_resnet", ("layer4.",), 5),
            ("test_efficientnet", ("blocks.4.", "conv_head.", "bn2."), 6),
            ("test_convnext", ("stages.3.", "head.norm."), 5),
            ("test_vit", ("blocks.5.", "norm."), 7),
        ],
    )
    def test_the_last_blocks_are_trained(self, name, last, count, tmp_path):
        model = TimmClassifier(config(name, trainable_blocks=1))
        network = model.backbone.network
        assert len(parameter_blocks(network)) == count
        free = {key for key, parameter in network.named_parameters() if parameter.requires_grad}
        assert free == {key for key, _ in network.named_parameters() if key.startswith(last)} and free
        model.save_pretrained(tmp_path)
        loaded = TimmClassifier.from_pretrained(tmp_path)
        assert {key for key, parameter in loaded.backbone.network.named_parameters() if parameter.requires_grad} == free
        assert all(parameter.requires_grad for parameter in loaded.classifier.parameters())
        more = TimmClassifier.from_pretrained(tmp_path, trainable_blocks=count)
        assert all(parameter.requires_grad for parameter in more.parameters())

    @pytest.mark.parametrize(("blocks", "moving"), [(0, ()), (2, ("layer3.", "layer4.")), (None, ("",))])
    def test_batch_norm_statistics_of_frozen_layers_stay(self, blocks, moving):
        model = TimmClassifier(config(trainable_blocks=blocks))
        before = copy.deepcopy(dict(model.backbone.network.named_buffers()))
        for parameter in model.parameters():
            parameter.grad = None
        model(windows(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()  # a new model is in training mode
        model.eval().train()
        model(windows())
        for key, buffer in model.backbone.network.named_buffers():
            assert torch.equal(buffer, before[key]) != key.startswith(moving), key
        for key, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, key
        assert model.training and model.classifier.training

    def test_a_frozen_network_gives_the_same_features_in_training(self):
        model = TimmClassifier(config("test_efficientnet", trainable_blocks=0, drop_path_rate=0.9))
        model.train()
        in_training = model.embed(windows())
        torch.testing.assert_close(in_training, model.eval().embed(windows()))

    def test_head_dropout(self):
        model = TimmClassifier(config(trainable_blocks=0, head_dropout=0.5)).train()
        assert not torch.equal(model(windows()).logits, model(windows()).logits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet_50"}, r"Unknown timm network 'resnet_50': did you mean resnet50 or"),
        ({"name": "qqqqqqqq"}, "try resnet50"),
        ({"name": "resnet50.a1_in2k"}, r"no weights for 'resnet50.a1_in2k' on the Hub: try resnet50.a1_in1k or"),
        ({"name": "test_vit", "max_frames": None}, "test_vit has a fixed input size: set max_frames"),
        ({"name": "nest_tiny"}, r"cannot build nest_tiny .*\(Model only handles square inputs\): most convolutional"),
        ({"name": "vgg11", "drop_path_rate": 0.1}, "unexpected keyword argument 'drop_path_rate'"),
        ({"trainable_blocks": 6}, "test_resnet has 5 blocks, including its stem, found trainable_blocks=6"),
        ({"trainable_blocks": -1}, "found trainable_blocks=-1: expected 0 to 5"),
        ({"name": "test_resnet", "head": "deeep"}, "Unknown head 'deeep'"),
    ],
)
def test_errors_say_what_to_do(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        TimmClassifier(config(**settings))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "num_parameters", "size", "num_blocks"),
    [  # parameters in timm's tables, minus the classifier of 1000 classes and two of the three input channels
        ("resnet50", 25_557_032 - 2_049_000 - 6_272, 2048, 5),
        ("resnext50_32x4d", 25_028_904 - 2_049_000 - 6_272, 2048, 5),
        ("efficientnet_b0", 5_288_548 - 1_281_000 - 576, 1280, 8),
        ("mobilenetv3_small_100", 2_542_856 - 1_025_000 - 288, 1024, 7),
        ("convnext_tiny", 28_589_128 - 769_000 - 3_072, 768, 5),
    ],
)
def test_the_networks_of_earlier_systems_have_their_sizes(name, num_parameters, size, num_blocks):
    with torch.device("meta"):
        model = TimmClassifier(config(name, trainable_blocks=1))
        assert model(torch.empty(2, 300, 128)).logits.shape == (2, 3)
    network = model.backbone.network
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters
    assert model.backbone.size == size and len(parameter_blocks(network)) == num_blocks
    assert model.lora_targets


def checkpointing(model, what: str) -> None:
    """Enables or disables it by the name of transformers 5.23, or else by that of before."""
    (getattr(model, f"activation_checkpointing_{what}", None) or getattr(model, f"gradient_checkpointing_{what}"))()


class TestTraining:
    def test_gradient_checkpointing_changes_no_gradient(self):
        plain = TimmClassifier(config(trainable_blocks=2, drop_path_rate=0.0))
        saving = copy.deepcopy(plain)
        checkpointing(saving, "enable")
        assert saving.backbone.network.grad_checkpointing and saving.gradient_checkpointing
        for model in (plain, saving):
            model.train()
            model(windows(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        gradients = {key: parameter.grad for key, parameter in saving.named_parameters() if parameter.requires_grad}
        for key, gradient in gradients.items():
            torch.testing.assert_close(gradient, plain.get_parameter(key).grad, rtol=1e-4, atol=1e-6, msg=key)
        checkpointing(saving, "disable")
        assert not saving.backbone.network.grad_checkpointing
        with pytest.raises(ValueError, match="no gradient checkpointing for dla46x_c"):
            checkpointing(TimmClassifier(config("dla46x_c")), "enable")

    @pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
    def test_bf16_autocast(self, name):
        model = TimmClassifier(config(name))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(windows(), labels=torch.tensor([0, 1, 2, 0]))
        output.loss.backward()
        assert output.logits.dtype == torch.bfloat16
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())

    def test_compiles_without_a_graph_break(self):
        model = TimmClassifier(config(trainable_blocks=1)).eval()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for frames in (40, 64):
            output = compiled(input_values=windows(2, frames, BINS), labels=torch.tensor([0, 1]))
            torch.testing.assert_close(output.logits, model(windows(2, frames, BINS)).logits)
        output.loss.backward()

    @pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
    def test_lora_is_trained_and_merged(self, name):
        from peft import LoraConfig, get_peft_model

        model = TimmClassifier(config(name))
        statistics = copy.deepcopy(dict(model.named_buffers()))
        settings = LoraConfig(r=3, target_modules=list(model.lora_targets), modules_to_save=["classifier"])
        adapted = get_peft_model(model, settings).train()
        optimizer = torch.optim.SGD([one for one in adapted.parameters() if one.requires_grad], lr=0.05)
        for step in range(2):  # half of an adapter starts at 0, so the other half has no gradient at first
            loss = adapted(input_values=windows(), labels=torch.tensor([0, 1, 2, 0])).loss
            loss.backward()
            missing = [key for key, one in adapted.named_parameters() if one.requires_grad and one.grad is None]
            assert not missing
            if step == 0:
                optimizer.step()
                optimizer.zero_grad()
        adapted.eval()
        expected = adapted(input_values=windows()).logits
        merged = adapted.merge_and_unload()
        torch.testing.assert_close(merged(windows()).logits, expected, rtol=1e-4, atol=1e-5)
        for key, buffer in merged.named_buffers():
            assert torch.equal(buffer, statistics[key]), key
