"""Self-supervised pretraining of the Audio Spectrogram Transformer: two objectives around its stock encoder.

    masked     a masked autoencoder (He et al. 2022, arXiv 2111.06377; for audio Huang et al. 2022, arXiv 2207.06405):
               most patches are taken away, and the rest must tell what was in them
    shuffled   some patches change places, and the model says of each whether it is in its own, as ELECTRA does of
               words (Clark et al. 2020, arXiv 2003.10555)

The encoder stays transformers' ASTModel under its usual name, so that its weights, and those of a checkpoint, fit
ASTForAudioClassification. All random numbers come from outside as uniform noise `[batch, patches]`: the noise alone
decides which patches are taken, on every device.

Short windows are padded at their end. Patches of nothing but padding are neither hidden, moved nor scored.
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
# Settings of the objective and of the classes that happened to be known
NOT_OF_THE_ENCODER = {"pretraining", "id2label", "label2id", "problem_type", "architectures"}
MIN_MOVED = 2  # one patch alone cannot change places
HEAD_WIDTH = 32  # of the decoder's attention
MASK_TOKEN_STD = 0.02


@dataclass
class PretrainingOutput(ModelOutput):
    """What an objective says of a batch.

    Attributes:
        losses: float32 `[batch]`, of each window the mean over its scored patches.
        logits: float32 `[batch, patches]`: how likely a patch was moved. Of the masked objective None.
        targets: int8 `[batch, patches]`: 1 moved, 0 in its place, -1 not scored. Of the masked objective None.
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
        """`[batch, frames, bins]` cut into `[batch, patches, pixels]`, in the encoder's order: band after band."""
        size = self.config.patch_size
        whole = features[:, : self.columns * size, : self.rows * size]
        grid = whole.reshape(-1, self.columns, size, self.rows, size)
        return grid.permute(0, 3, 1, 2, 4).reshape(-1, self.num_patches, size * size)

    def spectrogram_of(self, patches: Tensor) -> Tensor:
        """`patches_of` undone, without the frames and bins that fill no whole patch."""
        size = self.config.patch_size
        grid = patches.reshape(-1, self.rows, self.columns, size, size).permute(0, 2, 3, 1, 4)
        return grid.reshape(-1, self.columns * size, self.rows * size)

    def is_real(self, num_frames: Tensor) -> Tensor:
        """Bool `[batch, patches]`: patches with at least one frame that is not padding."""
        starts = torch.arange(self.columns, device=num_frames.device) * self.config.patch_size
        return (starts < num_frames[:, None]).repeat(1, self.rows)


class MaskedAutoencoder(PretrainingModel):
    """Hides a share of a window's patches; a light decoder draws them from what the encoder says of the others.

    The encoder gets the visible patches only, so that a step costs a fraction of a supervised one. Targets are pixels
    normalized within their patch: a decoder that knows nothing has a loss of 1.
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config)
        settings = config.pretraining
        self.fraction = settings["mask_fraction"]
        # Windows with padding have fewer: their share of visible patches never exceeds that of a full window.
        all_patches = torch.tensor(self.num_patches, device="cpu")  # also while from_pretrained makes meta tensors
        self.most_visible = self.num_patches - int(share_of(self.fraction, all_patches))
        decoder = copy.deepcopy(config)
        decoder.hidden_size = width = settings["decoder_width"]
        decoder.intermediate_size = 4 * width
        decoder.num_attention_heads = math.gcd(max(1, width // HEAD_WIDTH), width)
        self.to_decoder = nn.Linear(config.hidden_size, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_positions = nn.Parameter(torch.zeros(1, NUM_SPECIAL_TOKENS + self.num_patches, width))
        # transformers renames `layers` in AST's files
        self.decoder_blocks = nn.ModuleList([ASTLayer(decoder) for _ in range(settings["decoder_layers"])])
        self.decoder_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.to_pixels = nn.Linear(width, config.patch_size**2)
        self.post_init()

    def start_tokens(self) -> None:
        """Initializes what no layer does.

        Raises:
            InputError: so many patches are hidden that none is left to see.
        """
        if self.most_visible < 1:
            raise InputError(
                f"--mask_fraction {self.fraction:g} leaves none of a window's {self.num_patches} patches to see: "
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
        encoded = self._encode(input_values, order[:, : self.most_visible], num_visible)
        predicted = self._decode(encoded, rank, rank < num_visible, real).float()
        targets = self.patches_of(input_values.float())
        targets = (targets - targets.mean(-1, keepdim=True)) / (targets.var(-1, keepdim=True) + 1e-6).sqrt()
        errors = (predicted - targets).square().mean(dim=-1)
        return PretrainingOutput(losses=mean_over(errors, real & (rank >= num_visible)))

    def _encode(self, input_values: Tensor, visible: Tensor, num_visible: Tensor) -> Tensor:
        """`[batch, special + most_visible, hidden]`: ASTModel's own steps, on the patches of index `visible` alone."""
        tokens = self.encoder.embeddings(input_values)
        special, patches = tokens[:, :NUM_SPECIAL_TOKENS], tokens[:, NUM_SPECIAL_TOKENS:]
        hidden = torch.cat([special, gather_patches(patches, visible)], dim=1)
        is_visible = torch.arange(visible.shape[1], device=visible.device) < num_visible
        return self.encoder.layernorm(self._through(self.encoder.layers, hidden, is_visible))

    def _decode(self, encoded: Tensor, rank: Tensor, is_visible: Tensor, real: Tensor) -> Tensor:
        """Pixels `[batch, patches, pixels]`; every patch is put back to its place, or the mask token instead."""
        encoded = self.to_decoder(encoded)
        special, visible = encoded[:, :NUM_SPECIAL_TOKENS], encoded[:, NUM_SPECIAL_TOKENS:]
        in_place = gather_patches(visible, rank.clamp(max=self.most_visible - 1))
        patches = torch.where(is_visible[:, :, None], in_place, self.mask_token.to(visible.dtype))
        hidden = torch.cat([special, patches], dim=1) + self.decoder_positions
        hidden = self._through(self.decoder_blocks, hidden, real)
        return self.to_pixels(self.decoder_norm(hidden[:, NUM_SPECIAL_TOKENS:]))

    def _through(self, layers: nn.ModuleList, hidden: Tensor, attended: Tensor) -> Tensor:
        """Hidden states after layers that attend to the special tokens and to patches where `attended` is True."""
        mask = functional.pad(attended, (NUM_SPECIAL_TOKENS, 0), value=True)
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=mask)
        for layer in layers:
            hidden = layer(hidden, mask)
        return hidden


class ShuffledPatches(PretrainingModel):
    """Lets a share of a window's patches change places, and asks of each patch whether it is in its own.

    Each chosen patch moves to the next chosen one's place, in a random circle: all of them do move. A patch that looks
    exactly like the one it replaces (digital silence) counts as in its place, since nobody could tell.
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
        """A spectrogram `[batch, frames, bins]` with patches moved, and bool `[batch, patches]`: which are."""
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
    """A model's encoder with an objective to pretrain it by; its weights are copied as they are.

    Args:
        model: a spectrogram transformer, untrained or trained, with patches that do not overlap. Its head is not used.
        objective: "masked" or "shuffled".
        mask_fraction: share of a window's patches that is hidden, where masked.
        shuffle_fraction: share of a window's patches that changes places, where shuffled.
        decoder_width, decoder_layers: size of the masked objective's decoder; half the encoder's width where None.
        seed: of the new weights; the caller's random state stays untouched.

    Raises:
        InputError: another kind of model, an unknown objective, patches that overlap, or a setting out of range.
    """
    if not isinstance(model, ASTForAudioClassification):
        raise InputError(
            f"Pretraining is for all weights of a spectrogram transformer, found {type(model).__name__}: try --model "
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

    There are none of a head, so that `from_pretrained(..., num_labels=N)` makes a new one for any N.

    Args:
        state: the model's full state where its own is sharded over processes.
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
