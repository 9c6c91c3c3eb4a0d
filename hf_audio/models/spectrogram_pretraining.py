"""Self-supervised pretraining of the Audio Spectrogram Transformer: two objectives around its stock encoder.

    masked     a masked autoencoder (He et al. 2022, arXiv 2111.06377; for audio Huang et al. 2022, arXiv 2207.06405):
               most patches are hidden and predicted from the others
    shuffled   some patches change places, and the model detects which ones, as ELECTRA detects replaced words (Clark et
               al. 2020, arXiv 2003.10555)

The encoder is transformers' ASTModel with its usual name, so its weights and checkpoints are compatible with
ASTForAudioClassification. All random numbers are passed in as uniform noise `[batch, patches]`, so the same patches are
chosen on every device.

Short windows are padded at their end. Patches that contain only padding are not hidden, moved or scored.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ASTConfig, ASTForAudioClassification, ASTModel, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer import (
    ASTLayer,
    ASTPreTrainedModel,
)
from transformers.utils import ModelOutput

from hf_audio.errors import InputError, unknown_name
from hf_audio.models.audio_spectrogram_transformer import NUM_SPECIAL_TOKENS
from hf_audio.models.patch_choice import gather_patches, mean_over, order_of, share_of, sine_positions

ENCODER = ASTPreTrainedModel.base_model_prefix
# Fields of the config that belong to the objective, or to classes of the original model
NOT_OF_THE_ENCODER = {"pretraining", "id2label", "label2id", "problem_type", "architectures"}
MIN_MOVED = 2  # a single patch cannot change places
HEAD_WIDTH = 32  # per attention head of the decoder
MASK_TOKEN_STD = 0.02


@dataclass
class PretrainingOutput(ModelOutput):
    """The output of an objective for a batch.

    Attributes:
        losses: float32 `[batch]`, mean over the scored patches of each window.
        logits: float32 `[batch, patches]`: whether each patch was moved. None for the masked objective.
        targets: int8 `[batch, patches]`: 1 moved, 0 in its place, -1 not scored. None for the masked objective.
    """

    losses: Tensor | None = None
    logits: Tensor | None = None
    targets: Tensor | None = None


class PretrainingModel(ASTPreTrainedModel):
    """An encoder and an objective; see `pretraining_model`.

    A subclass has `forward(input_values, num_frames, noise) -> PretrainingOutput` with

        input_values  float `[batch, frames, bins]`, as the encoder takes them
        num_frames    int64 `[batch]`: how many frames of each window are not padding
        noise         float32 `[batch, patches]`, uniform in [0, 1)
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config)
        setattr(self, ENCODER, ASTModel(config))
        self.rows, self.columns = self.encoder.embeddings.get_shape(config)  # along frequency, along time
        self.num_patches = self.rows * self.columns

    @property
    def encoder(self) -> ASTModel:
        return getattr(self, ENCODER)

    def patches_of(self, features: Tensor) -> Tensor:
        """Cuts `[batch, frames, bins]` into `[batch, patches, pixels]`, in the encoder's order: band by band."""
        size = self.config.patch_size
        whole = features[:, : self.columns * size, : self.rows * size]
        grid = whole.reshape(-1, self.columns, size, self.rows, size)
        return grid.permute(0, 3, 1, 2, 4).reshape(-1, self.num_patches, size * size)

    def spectrogram_of(self, patches: Tensor) -> Tensor:
        """The inverse of `patches_of`, without frames and bins that do not fill a whole patch."""
        size = self.config.patch_size
        grid = patches.reshape(-1, self.rows, self.columns, size, size).permute(0, 2, 3, 1, 4)
        return grid.reshape(-1, self.columns * size, self.rows * size)

    def is_real(self, num_frames: Tensor) -> Tensor:
        """Bool `[batch, patches]`: patches with at least one frame that is not padding."""
        starts = torch.arange(self.columns, device=num_frames.device) * self.config.patch_size
        return (starts < num_frames[:, None]).repeat(1, self.rows)


class MaskedAutoencoder(PretrainingModel):
    """Hides a share of a window's patches; a small decoder predicts them from the encoder's output for the others.

    The encoder only gets the visible patches, so a step costs a fraction of a supervised one. Targets are pixels
    normalized per patch: a decoder that has learned nothing has a loss of 1.
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config)
        settings = config.pretraining
        self.fraction = settings["mask_fraction"]
        # Upper bound: windows with padding have fewer visible patches than full ones.
        all_patches = torch.tensor(self.num_patches, device="cpu")  # even if from_pretrained creates meta tensors
        self.max_visible = self.num_patches - int(share_of(self.fraction, all_patches))
        decoder = copy.deepcopy(config)
        decoder.hidden_size = width = settings["decoder_width"]
        decoder.intermediate_size = 4 * width
        decoder.num_attention_heads = math.gcd(max(1, width // HEAD_WIDTH), width)
        self.to_decoder = nn.Linear(config.hidden_size, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_positions = nn.Parameter(torch.zeros(1, NUM_SPECIAL_TOKENS + self.num_patches, width))
        # not named `layers`, which transformers renames in AST checkpoints
        self.decoder_blocks = nn.ModuleList([ASTLayer(decoder) for _ in range(settings["decoder_layers"])])
        self.decoder_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.to_pixels = nn.Linear(width, config.patch_size**2)
        self.post_init()

    def start_tokens(self) -> None:
        """Initializes the mask token and the decoder's position embeddings, which no layer initializes.

        Raises:
            InputError: no patches are left visible.
        """
        if self.max_visible < 1:
            raise InputError(
                f"--mask_fraction {self.fraction:g} leaves none of a window's {self.num_patches} patches visible: "
                "lower it, or use longer windows"
            )
        nn.init.trunc_normal_(self.mask_token, std=MASK_TOKEN_STD)
        grid = sine_positions(self.rows, self.columns, self.mask_token.shape[-1])
        self.decoder_positions.data[0, NUM_SPECIAL_TOKENS:] = grid

    def forward(self, input_values: Tensor, num_frames: Tensor, noise: Tensor) -> PretrainingOutput:
        real = self.is_real(num_frames)
        order, rank = order_of(noise, real)
        num_real = real.sum(dim=1, keepdim=True)
        num_visible = num_real - share_of(self.fraction, num_real)
        encoded = self._encode(input_values, order[:, : self.max_visible], num_visible)
        predicted = self._decode(encoded, rank, rank < num_visible, real).float()
        targets = self.patches_of(input_values.float())
        targets = (targets - targets.mean(-1, keepdim=True)) / (targets.var(-1, keepdim=True) + 1e-6).sqrt()
        errors = (predicted - targets).square().mean(dim=-1)
        return PretrainingOutput(losses=mean_over(errors, real & (rank >= num_visible)))

    def _encode(self, input_values: Tensor, visible: Tensor, num_visible: Tensor) -> Tensor:
        """`[batch, special + max_visible, hidden]`: the steps of ASTModel, only on the patches with index `visible`."""
        tokens = self.encoder.embeddings(input_values)
        special, patches = tokens[:, :NUM_SPECIAL_TOKENS], tokens[:, NUM_SPECIAL_TOKENS:]
        hidden = torch.cat([special, gather_patches(patches, visible)], dim=1)
        is_visible = torch.arange(visible.shape[1], device=visible.device) < num_visible
        return self.encoder.layernorm(self._through(self.encoder.layers, hidden, is_visible))

    def _decode(self, encoded: Tensor, rank: Tensor, is_visible: Tensor, real: Tensor) -> Tensor:
        """Pixels `[batch, patches, pixels]`, from visible patches in their places and mask tokens in all others."""
        encoded = self.to_decoder(encoded)
        special, visible = encoded[:, :NUM_SPECIAL_TOKENS], encoded[:, NUM_SPECIAL_TOKENS:]
        in_place = gather_patches(visible, rank.clamp(max=self.max_visible - 1))
        patches = torch.where(is_visible[:, :, None], in_place, self.mask_token.to(visible.dtype))
        hidden = torch.cat([special, patches], dim=1) + self.decoder_positions
        hidden = self._through(self.decoder_blocks, hidden, real)
        return self.to_pixels(self.decoder_norm(hidden[:, NUM_SPECIAL_TOKENS:]))

    def _through(self, layers: nn.ModuleList, hidden: Tensor, attended: Tensor) -> Tensor:
        """Hidden states after layers that attend to the special tokens and the patches where `attended` is True."""
        mask = functional.pad(attended, (NUM_SPECIAL_TOKENS, 0), value=True)
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=mask)
        for layer in layers:
            hidden = layer(hidden, mask)
        return hidden


class ShuffledPatches(PretrainingModel):
    """Lets a share of a window's patches change places, and predicts for each patch whether it was moved.

    Each chosen patch moves to the place of the next in a random cycle, so all of them move. A patch that is identical
    to the one it replaces (digital silence) counts as not moved, since it cannot be detected.
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config)
        self.fraction = config.pretraining["shuffle_fraction"]
        self.detector = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_values: Tensor, num_frames: Tensor, noise: Tensor) -> PretrainingOutput:
        real = self.is_real(num_frames)
        shuffled, moved = self.shuffle(input_values, real, noise)
        hidden = self.encoder(input_values=shuffled).last_hidden_state[:, NUM_SPECIAL_TOKENS:]
        logits = self.detector(hidden).squeeze(-1).float()
        errors = functional.binary_cross_entropy_with_logits(logits, moved.float(), reduction="none")
        targets = moved.to(torch.int8).masked_fill(~real, -1)
        return PretrainingOutput(losses=mean_over(errors, real), logits=logits, targets=targets)

    def shuffle(self, input_values: Tensor, real: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A spectrogram `[batch, frames, bins]` with moved patches, and bool `[batch, patches]`: which ones moved."""
        order, rank = order_of(noise, real)
        num_real = real.sum(dim=1, keepdim=True)
        num_moved = torch.minimum(share_of(self.fraction, num_real).clamp(min=MIN_MOVED), num_real)
        following = torch.where(rank + 1 < num_moved, rank + 1, 0)
        places = torch.arange(self.num_patches, device=rank.device)
        source = torch.where(rank < num_moved, order.gather(1, following), places)
        patches = self.patches_of(input_values)
        shuffled = gather_patches(patches, source)
        return self.spectrogram_of(shuffled), (shuffled != patches).any(dim=-1)


OBJECTIVES = {"masked": MaskedAutoencoder, "shuffled": ShuffledPatches}


def pretraining_model(
    model: PreTrainedModel,
    objective: str = "masked",
    *,
    mask_fraction: float = 0.75,
    shuffle_fraction: float = 0.15,
    decoder_width: int | None = None,
    decoder_layers: int = 2,
    seed: int = 0,
) -> PretrainingModel:
    """A copy of a model's encoder, with a pretraining objective.

    Args:
        model: a spectrogram transformer, trained or not, whose patches do not overlap. Its head is not used.
        objective: "masked" or "shuffled".
        mask_fraction: share of a window's patches that are hidden, for "masked".
        shuffle_fraction: share of a window's patches that change places, for "shuffled".
        decoder_width, decoder_layers: size of the decoder, for "masked". Default width: half the encoder's.
        seed: seed for the new weights; the caller's random state is not changed.

    Raises:
        InputError: the wrong kind of model, an unknown objective, patches that overlap, or a setting out of range.
    """
    if not isinstance(model, ASTForAudioClassification):
        raise InputError(
            f"Pretraining needs a spectrogram transformer without adapters, found {type(model).__name__}: try --model "
            "ast-small, without LoRA"
        )
    encoder = getattr(model, ENCODER)
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    config = copy.deepcopy(encoder.config)
    width = config.hidden_size // 2 if decoder_width is None else decoder_width
    _check_settings(config, {"mask_fraction": mask_fraction, "shuffle_fraction": shuffle_fraction}, width)
    own = {
        "masked": {"mask_fraction": mask_fraction, "decoder_width": width, "decoder_layers": decoder_layers},
        "shuffled": {"shuffle_fraction": shuffle_fraction},
    }
    config.pretraining = {"objective": objective, **own[objective]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pretrained = OBJECTIVES[objective](config)
        if objective == "masked":
            pretrained.start_tokens()
    pretrained.encoder.load_state_dict(encoder.state_dict())
    return pretrained


def stock_classifier(
    model: PretrainingModel, state: dict[str, Tensor] | None = None
) -> tuple[ASTForAudioClassification, dict[str, Tensor]]:
    """The form in which an encoder is published: a stock class without weights, and the weights to save with it.

    It has no head weights, so `from_pretrained(..., num_labels=N)` creates a new head for any N.

    Args:
        state: the model's full state dict, if its own is sharded over processes.
    """
    settings = {key: value for key, value in model.config.to_dict().items() if key not in NOT_OF_THE_ENCODER}
    with torch.device("meta"):
        stock = ASTForAudioClassification(ASTConfig(**settings))
    state = model.state_dict() if state is None else state
    return stock, {name: weights for name, weights in state.items() if name.startswith(f"{ENCODER}.")}


def _check_settings(config: ASTConfig, fractions: dict[str, float], width: int) -> None:
    strides = {config.frequency_stride, config.time_stride}
    if strides != {config.patch_size}:
        raise InputError(
            f"Pretraining needs patches that do not overlap: stride {config.patch_size}, found {min(strides)}; "
            "try --model ast-small"
        )
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise InputError(f"--{name} must be between 0 and 1, found {fraction:g}: try 0.75 to mask, 0.15 to shuffle")
    if width < 4 or width % 4:
        raise InputError(f"--decoder_width must be a multiple of 4, found {width}: try {max(4, width // 4 * 4)}")
