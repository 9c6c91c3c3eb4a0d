"""Which settings of spectrogram augmentation have no effect without others."""

from __future__ import annotations

from hf_audio.config.needs import Needs

SPECTROGRAM_NEEDS = (
    Needs(
        ("warp_probability",),
        lambda run: run.time_stretch > 0 or run.frequency_scale > 0 or run.frequency_shift_bins > 0,
        "nothing is warped: give --time_stretch, --frequency_scale or --frequency_shift_bins too, or leave it out",
    ),
    Needs(
        ("time_stretch", "frequency_scale", "frequency_shift_bins"),
        lambda run: (
            run.warp_probability > 0 or not (run.time_stretch or run.frequency_scale or run.frequency_shift_bins)
        ),
        "--warp_probability 0 changes nothing: leave one of the two out",
    ),
    Needs(
        ("mask_probability",),
        lambda run: run.time_mask_s > 0 or run.frequency_mask_bins > 0,
        "nothing is masked: give --time_mask_s or --frequency_mask_bins too, or leave it out",
    ),
    Needs(
        ("time_mask_s", "frequency_mask_bins"),
        lambda run: run.mask_probability > 0 or not (run.time_mask_s or run.frequency_mask_bins),
        "--mask_probability 0 changes nothing: leave one of the two out",
    ),
    Needs(
        ("mixup_probability", "mixup_labels"),
        lambda run: run.mixup_alpha > 0,
        "mixup is off: give --mixup_alpha too, or leave it out",
    ),
    Needs(
        ("noise_snr_db",),
        lambda run: run.noise_probability > 0,
        "noise is off: give --noise_probability too, or leave it out",
    ),
    Needs(
        ("batch_mix_max_windows", "batch_mix_offset_s", "batch_mix_level_db"),
        lambda run: run.batch_mix_probability > 0,
        "batch mixing is off: give --batch_mix_probability too, or leave it out",
    ),
    Needs(
        ("filter_augment_type",),
        lambda run: run.filter_augment_db > 0,
        "FilterAugment is off: give --filter_augment_db too, e.g. 6, or leave it out",
    ),
    Needs(
        ("mixstyle_probability",),
        lambda run: run.mixstyle_alpha > 0,
        "Freq-MixStyle is off: give --mixstyle_alpha too, e.g. 0.3, or leave it out",
    ),
    Needs(
        ("mixstyle_alpha",),
        lambda run: run.mixstyle_alpha == 0 or run.mixstyle_probability > 0,
        "--mixstyle_probability 0 changes nothing: leave one of the two out",
    ),
    Needs(
        ("cutmix_probability", "cutmix_shape"),
        lambda run: run.cutmix_alpha > 0,
        "CutMix is off: give --cutmix_alpha too, e.g. 1, or leave it out",
    ),
    Needs(
        ("cutmix_alpha",),
        lambda run: run.cutmix_alpha == 0 or run.cutmix_probability > 0,
        "--cutmix_probability 0 mixes nothing: leave one of the two out",
    ),
    Needs(
        ("cutout_bins", "cutout_rectangles"),
        lambda run: run.cutout_s > 0,
        "Cutout is off: give --cutout_s too, e.g. 0.3, or leave it out",
    ),
    Needs(
        ("image_probability",),
        lambda run: run.image_gain > 0 or run.image_noise > 0,
        "image augmentation is off: give --image_gain or --image_noise too, or leave it out",
    ),
    Needs(
        ("image_gain", "image_noise"),
        lambda run: not (run.image_gain or run.image_noise) or run.image_probability > 0,
        "--image_probability 0 changes nothing: leave one of the two out",
    ),
    Needs(
        ("time_roll_s",),
        lambda run: not run.time_shift,
        "--time_shift already shifts windows in time: leave it out, or give --time_shift false",
    ),
    Needs(
        ("mixup_alpha",),
        lambda run: run.mixup_alpha == 0 or run.mixup_probability > 0,
        "--mixup_probability 0 mixes nothing: leave one of the two out",
    ),
)
