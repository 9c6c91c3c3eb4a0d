"""Relevance that is known: a tone planted in noise, and models built by hand that respond only to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectors import (
    FROM_S,
    RATE,
    SLOPE,
    TO_S,
    TONE,
    TONE_HZ,
    attending_ast,
    loudness_cnn,
    planted_tone,
    tone_filter,
    wrapped_ast,
)
from model_cases import CASES, NAMES

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.explaining.attention_rollout import rolled_out
from hf_audio.explaining.captum_methods import grad_cam, occlusion
from hf_audio.explaining.integrated_gradients import integrated_gradients
from hf_audio.explaining.listening import masked_sound
from hf_audio.explaining.methods import METHODS, MethodSettings, chosen_methods
from hf_audio.explaining.questions import ask
from hf_audio.kinds import Form, kind_of_extractor
from hf_audio.models.usage import Usage
from hf_audio.sound_predictor import SoundPredictor

FOUND_BY = {
    loudness_cnn: ("gradient", "input_x_gradient", "integrated_gradients", "grad_cam", "occlusion"),
    tone_filter: ("gradient", "input_x_gradient", "integrated_gradients", "grad_cam", "occlusion"),
    attending_ast: ("rollout",),
    wrapped_ast: ("rollout",),
}
MARGIN_S = 0.03  # frames and patches overlap the ends of the burst


def predictor_of(case_name: str) -> SoundPredictor:
    """An untrained model from tests/model_cases.py."""
    case = next(case for case in CASES if case.name == case_name)
    torch.manual_seed(0)
    model, extractor = case.make(LabelSpace(NAMES, MULTI_LABEL)), case.extractor()
    if hasattr(model.config, "padding_value"):
        model.config.padding_value = kind_of_extractor(extractor).padding_value(extractor)
    found = SoundPredictor(model, extractor, usage=Usage(0.5, 0.5, 0.5), name=case_name, device="cpu")
    if found.kind.form is Form.VECTORS:  # compiling librosa takes seconds
        values = torch.randn(1, *case.windows[0], generator=torch.Generator().manual_seed(1))
        found.inputs = lambda windows: {"input_values": values}
    return found


def noise_for(predictor: SoundPredictor, duration_s: float = 0.5) -> np.ndarray:
    num_samples = round(duration_s * predictor.sample_rate)
    shape = (2, num_samples) if predictor.is_stereo else num_samples
    return (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def burst_of(grid) -> np.ndarray:
    """The cells `[steps, bands]` that overlap the planted tone."""
    seconds = grid.middles_s
    in_time = (seconds > FROM_S - MARGIN_S) & (seconds < TO_S + MARGIN_S)
    if grid.hz is None:
        return in_time[:, None]
    return in_time[:, None] & (grid.hz > 0.6 * TONE_HZ) & (grid.hz < 1.6 * TONE_HZ)


@pytest.mark.parametrize(("make", "name"), [(make, name) for make, names in FOUND_BY.items() for name in names])
def test_a_planted_tone_is_found(make, name):
    question = ask(make(), planted_tone(), TONE)
    found = np.maximum(METHODS[name].explain(question, MethodSettings()).values, 0)
    burst = burst_of(question.grid)
    share = found[np.broadcast_to(burst, found.shape)].sum() / found.sum()
    if name == "rollout":  # 16 x 16 patches are larger than the tone, and half of each layer is its residual
        assert found[burst].mean() > 1.5 * found[~burst].mean()
        assert FROM_S - 0.08 < question.grid.middles_s[found.sum(axis=1).argmax()] < TO_S + 0.08, "too far for a patch"
    else:
        assert share > (0.65 if name == "occlusion" else 0.9)
    assert burst.mean() < 0.35, "the burst is so large that chance would find it"


def test_relevance_for_an_additive_model_is_exact():
    question = ask(loudness_cnn(), planted_tone(), TONE)
    cells, silence = (question.grid.image(one) for one in (question.values, question.baseline))
    per_cell = SLOPE / question.values[0].numel()
    added = per_cell * (np.maximum(cells - 1.0, 0) - np.maximum(silence - 1.0, 0))
    slopes = per_cell * (cells > 1.0)
    settings = MethodSettings(gradient_steps=500, occlusion_s=0.010, occlusion_bands=1)
    found = {name: METHODS[name].explain(question, settings).values for name in FOUND_BY[loudness_cnn]}
    np.testing.assert_allclose(found["gradient"], slopes, atol=1e-7)
    np.testing.assert_allclose(found["input_x_gradient"], slopes * (cells - silence), atol=1e-6)
    np.testing.assert_allclose(found["integrated_gradients"], added, atol=1e-3)
    np.testing.assert_allclose(found["occlusion"], added, atol=1e-5)
    np.testing.assert_allclose(found["grad_cam"], per_cell * np.maximum(cells - 1.0, 0), atol=1e-6)


@pytest.mark.parametrize(
    "name", ["cnn", "stereo_cnn", "timm_efficientnet", "lstm", "feature_mlp", "ast_stock", "whisper"]
)
def test_integrated_gradients_are_complete_and_equal_captums(name):
    from captum.attr import IntegratedGradients

    predictor = predictor_of(name)
    question = ask(predictor, noise_for(predictor), 1)
    found, missing_logit = integrated_gradients(question, 64)
    with torch.no_grad():
        difference = float(question.logit(question.values) - question.logit(question.baseline))
    assert abs(missing_logit) < 0.05 * abs(difference) + 1e-5
    assert float(found.sum()) - difference == pytest.approx(missing_logit, abs=1e-6)
    other = IntegratedGradients(question.logit).attribute(question.values, question.baseline, n_steps=64)
    torch.testing.assert_close(found, other.float(), atol=1e-6, rtol=1e-3)


def test_integrated_gradients_take_more_steps_near_silence_for_normalizing_networks():
    """Their output changes within the first 1 % of the path, where captum's steps miss most of the difference."""
    from captum.attr import IntegratedGradients

    predictor = predictor_of("wav2vec2_convolutions")
    question = ask(predictor, noise_for(predictor), 1)
    with torch.no_grad():
        difference = float(question.logit(question.values) - question.logit(question.baseline))
    missing = abs(integrated_gradients(question, 64)[1])
    _, delta = IntegratedGradients(question.logit).attribute(
        question.values, question.baseline, n_steps=64, return_convergence_delta=True
    )
    assert missing < 0.1 * abs(difference) < 0.5 * abs(float(delta))


def test_rollout_averages_attention_and_identity_in_each_layer():
    first = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])  # all tokens attend to the first
    last = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])  # two heads: to the second
    by_first = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    by_last = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    torch.testing.assert_close(rolled_out([first, last]), by_last @ by_first)


ROLLED_OUT = ("wav2vec2", "wav2vec2_stock", "whisper", "ast")
WITH_MAPS = ("batch_norm_cnn", "stereo_cnn", "timm_efficientnet", "timm_parallel", "wav2vec2_convolutions")


@pytest.mark.parametrize("name", [*ROLLED_OUT, *WITH_MAPS, "stereo_lstm", "timm_vit", "feature_cnn", "feature_rnn"])
def test_all_methods_give_a_map_for_each_model_or_the_reason_why_not(name):
    predictor = predictor_of(name)
    question = ask(predictor, noise_for(predictor), 1)
    grid = question.grid
    cells = np.random.default_rng(1).random((1, grid.num_steps, grid.num_bands)) < 0.5
    spread = grid.spread(cells, question.values).expand_as(question.values)
    assert np.array_equal(grid.image(spread.float()) > 0, cells[0]), "spreading cells must invert the grid's image"
    names, unsuited = chosen_methods(None, question)
    assert set(names) | set(unsuited) == set(METHODS)
    assert ("rollout" in names, "grad_cam" in names) == (name in ROLLED_OUT, name in WITH_MAPS)
    for method in names:
        values = METHODS[method].explain(question, MethodSettings(gradient_steps=4)).values
        assert values.shape == (grid.num_steps, grid.num_bands) and np.isfinite(values).all()
        assert values.any() or method == "grad_cam", "only Grad-CAM may give an empty map"


@pytest.mark.parametrize("case", ["cnn", "batch_norm_cnn", "stereo_cnn", "whisper"])
def test_axes_give_time_and_frequency_of_a_tone(case):
    predictor = predictor_of(case)
    rate = predictor.sample_rate
    seconds = np.arange(rate // 2) / rate
    sound = (np.sin(2 * np.pi * TONE_HZ * seconds) * ((seconds > FROM_S) & (seconds < TO_S))).astype(np.float32)
    question = ask(predictor, np.stack([sound, sound]) if predictor.is_stereo else sound, 0)
    grid, picture = question.grid, question.grid.image(question.values)
    step, band = np.unravel_index(picture.argmax(), picture.shape)
    nearest = np.abs(np.log(grid.hz / TONE_HZ)).argmin()
    assert abs(band - nearest) <= 1 and FROM_S < grid.middles_s[step] < TO_S
    loud = grid.middles_s[picture[:, band] > np.median(picture[:, band]) + 0.9 * np.ptp(picture[:, band])]
    assert loud.mean() == pytest.approx((FROM_S + TO_S) / 2, abs=0.01)


def test_padding_after_a_short_sound_is_neither_shown_nor_changed():
    predictor = predictor_of("cnn")
    question = ask(predictor, noise_for(predictor, 0.2), 1)
    padding = question.values[:, question.grid.num_steps :]
    assert 0 < question.grid.num_steps == 18 and padding.shape[1] == 80
    assert torch.equal(question.baseline[:, question.grid.num_steps :], padding)
    assert int(question.inputs["num_frames"]) == 18, "the model must get the number of real frames"
    assert not occlusion(question, 5, 8)[:, 20:].any()
    assert grad_cam(question).shape == question.values.shape


@pytest.mark.parametrize("make", [loudness_cnn, tone_filter])
def test_the_relevant_part_of_a_sound_can_be_played(make):
    sound, other = planted_tone(), np.random.default_rng(3).standard_normal(RATE // 2) * 0.004
    sound = (sound + other).astype(np.float32)
    question = ask(make(), sound, TONE)
    relevance = METHODS["integrated_gradients"].explain(question, MethodSettings()).values
    heard = masked_sound(sound, RATE, question.grid, relevance)
    assert heard.shape == sound.shape and heard.dtype == np.float32
    burst = slice(round((FROM_S + 0.02) * RATE), round((TO_S - 0.02) * RATE))
    elsewhere = np.r_[0 : round((FROM_S - 0.08) * RATE), round((TO_S + 0.08) * RATE) : len(sound)]
    assert np.std(heard[burst]) > 0.5 * np.std(sound[burst])
    assert np.std(heard[elsewhere]) < 0.1 * np.std(sound[elsewhere])
    if question.grid.hz is not None:
        before, after = (np.abs(np.fft.rfft(one[burst])) ** 2 for one in (sound, heard))
        hz = np.fft.rfftfreq(burst.stop - burst.start, 1 / RATE)
        assert after[hz > 4000].sum() < 0.01 * before[hz > 4000].sum(), "other frequencies must be silent too"
    silent = masked_sound(sound, RATE, question.grid, -np.abs(relevance))
    assert not silent.any(), "negative relevance must be silent"


def test_methods_and_settings_unsuitable_for_a_model_are_refused():
    cnn, transformer, vectors = (
        ask(one, noise_for(one), 0) for one in map(predictor_of, ("cnn", "ast", "feature_cnn"))
    )
    with pytest.raises(InputError, match="Rollout needs attention weights, which SpectrogramCNN does not provide"):
        chosen_methods(["rollout"], cnn)
    with pytest.raises(InputError, match="Grad-CAM needs a convolutional network, but TransformerClassifier has none"):
        chosen_methods(["grad_cam"], transformer)
    with pytest.raises(InputError, match=r"Grad-CAM .* FeatureCNN reads classical"):
        chosen_methods(["grad_cam"], vectors)
    with pytest.raises(InputError, match="Unknown method 'occlusoin': did you mean 'occlusion'"):
        chosen_methods(["occlusoin"], cnn)
    with pytest.raises(InputError, match="filter reads waveforms, where 0 is not the mean"):
        ask(tone_filter(), planted_tone(), TONE, "mean")
    with pytest.raises(InputError, match="feature_cnn reads classical features, for which silence is undefined"):
        ask(predictor_of("feature_cnn"), noise_for(predictor_of("feature_cnn")), 0, "quiet")
    sound = ask(tone_filter(), planted_tone(), TONE)
    with pytest.raises(InputError, match="--occlusion_bands has no effect on a model that reads waveforms"):
        METHODS["occlusion"].explain(sound, MethodSettings(occlusion_bands=2))
    with pytest.raises(InputError, match=r"--occlusion_s must be 0\.01 to 0\.48 s, .*found 3"):
        METHODS["occlusion"].explain(cnn, MethodSettings(occlusion_s=3.0))


def test_a_question_can_be_asked_of_another_model():
    question = ask(loudness_cnn(), planted_tone(), TONE)
    deaf = question.of_model(loudness_cnn(threshold=1e6).model)
    with torch.no_grad():
        assert float(deaf.logit(deaf.values)) == 0.0 < float(question.logit(question.values))
