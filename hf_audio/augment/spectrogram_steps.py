"""Creates the augmentations of spectrograms from settings, and refuses those that make no sense for some features."""

from __future__ import annotations

from transformers import FeatureExtractionMixin

from hf_audio.augment.augmentation import Augmentation
from hf_audio.augment.batch_mix import BatchMix
from hf_audio.augment.cutmix import CutMix
from hf_audio.augment.cutout import Cutout
from hf_audio.augment.energies import Normalization
from hf_audio.augment.filter_augment import FilterAugment
from hf_audio.augment.image import ImageChange
from hf_audio.augment.masks import SpecAugment
from hf_audio.augment.mix_or_cut import MixOrCut
from hf_audio.augment.mixstyle import FrequencyMixStyle
from hf_audio.augment.mixup import Mixup
from hf_audio.augment.recording import Recording
from hf_audio.augment.roll import Roll
from hf_audio.augment.warp import Warp
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError
from hf_audio.kinds import kind_of_extractor
from hf_audio.ranks import process_state
from hf_audio.terminal import named_logger

logger = named_logger(__name__)

# Settings that add or multiply energies or are in decibels, and settings that shift pitch
OF_ENERGIES = (
    "batch_mix_probability",
    "gain_db",
    "equalizer_db",
    "noise_probability",
    "filter_augment_db",
    "mixup_alpha",
)
OF_BINS = ("frequency_shift_bins", "frequency_roll_bins")
OF_PITCH = ("frequency_scale", *OF_BINS)
MIN_WINDOWS_PER_MASK = 10  # time masks are at most a tenth of the window, so that short sounds are not hidden


def spectrogram_steps(config: AugmentConfig, extractor: FeatureExtractionMixin) -> tuple[Augmentation, ...]:
    """The augmentations of these settings, for windows of this extractor of images.

    They follow the order of the recording process: the sound (time, speed, pitch, loudness), other sounds, the
    recording of both, mixing with another recording, and finally the image, with masks last.

    Raises:
        InputError: an augmentation needs energies but the features have none (normalization per clip, or MFCCs), or it
            is larger than a window or shorter than a frame.
    """
    refuse_without_sense(config, extractor)
    frame_s = kind_of_extractor(extractor).scale(extractor).frame_s
    _refuse_sizes_beside_the_window(config, extractor, frame_s)
    frames_per_s = 1 / frame_s
    return (
        *_of_the_sound(config, frames_per_s),
        *batch_mix(config, frames_per_s),
        *_of_the_recording(config),
        *_mixtures(config),
        *_of_the_picture(config, extractor, frames_per_s),
    )


def batch_mix(config: AugmentConfig, frames_per_s: float) -> tuple[BatchMix, ...]:
    """BatchMix, if it is on; for waveforms, frames are samples."""
    if not config.batch_mix_probability:
        return ()
    offset = round(config.batch_mix_offset_s * frames_per_s)
    return (BatchMix(config.batch_mix_probability, config.batch_mix_max_windows, offset, config.batch_mix_level_db),)


def _of_the_sound(config: AugmentConfig, frames_per_s: float) -> list[Augmentation]:
    steps: list[Augmentation] = []
    moved = (config.time_stretch, config.frequency_scale, config.frequency_shift_bins, config.gain_db)
    if config.time_shift or any(moved):
        steps.append(Warp(*moved, time_shift=config.time_shift, probability=config.warp_probability))
    if config.time_roll_s or config.frequency_roll_bins:
        steps.append(Roll(round(config.time_roll_s * frames_per_s), config.frequency_roll_bins))
    return steps


def _of_the_recording(config: AugmentConfig) -> list[Augmentation]:
    steps: list[Augmentation] = []
    if config.equalizer_db or config.noise_probability:
        steps.append(Recording(config.equalizer_db, config.noise_probability, config.noise_snr_db))
    if config.filter_augment_db:
        steps.append(FilterAugment(config.filter_augment_db, config.filter_augment_type))
    if config.mixstyle_alpha and config.mixstyle_probability:
        steps.append(FrequencyMixStyle(config.mixstyle_alpha, config.mixstyle_probability))
    return steps


def _mixtures(config: AugmentConfig) -> list[Augmentation]:
    mixup = Mixup(config.mixup_alpha, config.mixup_labels, config.mixup_probability)
    cutmix = CutMix(config.cutmix_alpha, config.cutmix_shape, config.cutmix_probability)
    steps = [step for step in (mixup, cutmix) if step.alpha and step.probability]
    return [MixOrCut(mixup, cutmix)] if len(steps) == 2 else [*steps]


def _of_the_picture(
    config: AugmentConfig, extractor: FeatureExtractionMixin, frames_per_s: float
) -> list[Augmentation]:
    steps: list[Augmentation] = []
    is_centered = Normalization.of(extractor).is_centered
    if (config.image_gain or config.image_noise) and config.image_probability:
        steps.append(ImageChange(config.image_gain, config.image_noise, config.image_probability))
    time_mask_frames = _time_mask_frames(config.time_mask_s, extractor.max_length, frames_per_s)
    if time_mask_frames or config.frequency_mask_bins:
        masks = SpecAugment(
            time_mask_frames, config.frequency_mask_bins, is_centered, probability=config.mask_probability
        )
        steps.append(masks)
    if config.cutout_s:
        longest = max(1, round(config.cutout_s * frames_per_s))
        steps.append(Cutout(longest, config.cutout_bins, config.cutout_rectangles, is_centered))
    return steps


def _time_mask_frames(longest_s: float, window_frames: int, frames_per_s: float) -> int:
    """Maximum length of time masks; the first process warns if it is less than requested, because windows are short."""
    frames, most = round(longest_s * frames_per_s), window_frames // MIN_WINDOWS_PER_MASK
    if frames > most and process_state().is_main_process:
        logger.warning(
            "time_mask_s is %g, but time masks are at most %.3g s here, a tenth of the window: longer masks would hide "
            "short sounds",
            longest_s,
            most / frames_per_s,
        )
    return min(frames, most)


def _refuse_sizes_beside_the_window(config: AugmentConfig, extractor: FeatureExtractionMixin, frame_s: float) -> None:
    """Refuses shifts and masks that are longer than a window, or than the part that masks may hide, if they are on."""
    window_s = extractor.max_length * frame_s
    for name in ("time_roll_s", "cutout_s"):
        if getattr(config, name) > window_s:
            raise InputError(
                f"--{name} {getattr(config, name):g} is longer than a window, which has {window_s:.3g} s here: use at "
                f"most {window_s:.3g}"
            )
    if config.time_mask_s and extractor.max_length < MIN_WINDOWS_PER_MASK:
        raise InputError(
            f"--time_mask_s {config.time_mask_s:g} masks nothing: masks are at most a tenth of a window, which has "
            f"{extractor.max_length} frames here: use --time_mask_s 0, or a longer --window_s"
        )


def _refuse_sizes(config: AugmentConfig, extractor: FeatureExtractionMixin) -> None:
    """Refuses shifts and masks of more bins than there are, or of less than a frame, if they are on."""
    num_bins, frame_s = extractor.num_mel_bins, kind_of_extractor(extractor).scale(extractor).frame_s
    sizes = {**dict.fromkeys(OF_BINS, num_bins - 1), "frequency_mask_bins": num_bins}
    sizes |= {"cutout_bins": num_bins} if config.cutout_s else {}
    for name, most in sizes.items():
        if getattr(config, name) > most:
            raise InputError(
                f"--{name} {getattr(config, name):g} is too much for {num_bins} mel bins: use at most {most}"
            )
    for name in ("time_roll_s", "time_mask_s"):
        longest_s = getattr(config, name)
        if longest_s and not round(longest_s / frame_s):
            raise InputError(
                f"--{name} {longest_s:g} changes nothing, since a frame is {frame_s:.3g} s long: use that or more, or "
                f"--{name} 0"
            )


def refuse_without_sense(config: AugmentConfig, extractor: FeatureExtractionMixin) -> None:
    """The checks that do not depend on the length of windows, which is unknown until features are built.

    Raises:
        InputError: augmentation needs energies or frequency bands but the features have none; or its sizes do not suit
            the bins and frames.
    """
    _refuse_sizes(config, extractor)

    def switched_off(names: tuple[str, ...]) -> str:
        """The flags that switch off those of `names` that are on, since a recipe may have set them."""
        return " ".join(f"--{name} 0" for name in names if getattr(config, name))

    off = switched_off(OF_ENERGIES)
    if getattr(extractor, "normalization", None) == "clip" and off:
        raise InputError(
            f"{off.split()[0]} needs the energies of the sound, which are unknown if each clip is normalized by its "
            f"own mean and standard deviation: use {off}, or --normalization dataset"
        )
    off = switched_off((*OF_ENERGIES, *OF_PITCH))
    if "mfcc" not in getattr(extractor, "channels", ()):
        return
    if off:
        raise InputError(
            f"{off.split()[0]} is for energies of frequency bands, which MFCCs are not: use {off} (masks, "
            "--time_shift and --time_stretch can stay), or leave mfcc out of --channels"
        )
    if config.cutmix_alpha and config.cutmix_shape == "rectangle":
        raise InputError(
            "--cutmix_shape rectangle is for frequency bands, which MFCCs are not: use --cutmix_shape time, or leave "
            "mfcc out of --channels"
        )
