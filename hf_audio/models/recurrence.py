"""LSTM and GRU layers that torch.compile compiles without a graph break, and pooling of their outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .classifier import Layers

CELLS = ("lstm", "gru")


class Recurrence(nn.RNNBase):
    """`[batch, steps, inputs]` -> outputs of all steps `[batch, steps, hidden * directions]`.

    The weights have the same names as in nn.LSTM or nn.GRU, and eager mode uses the same kernels: on a GPU, one cuDNN
    call with flattened weights. It is not a subclass of them because torch.compile (2.11 to 2.14) refuses all
    subclasses. With the experimental `allow_rnn`, torch.compile would trace into the layer: training then crashes on
    the CPU, and on a GPU every time step is unrolled into the graph, which takes minutes to compile for a window of 300
    frames. So in a compiled graph, a layer is a single operator, `recurrent_layer`.

    Under autocast, the layer still computes in the precision of its weights, float32: cuDNN would use half precision
    for a gradient that goes back over hundreds of steps.

    Args:
        cell: "lstm" or "gru".
        input_size: numbers per step.
        hidden_size: size of each layer and direction.
        num_layers: number of stacked layers.
        dropout: between layers.
        bidirectional: whether to read in both directions.

    Raises:
        ValueError: an unknown cell.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        if cell not in CELLS:
            raise ValueError(f"Unknown cell {cell!r}: expected one of {', '.join(CELLS)}")
        dropout = dropout if num_layers > 1 else 0.0  # a single layer has nothing between layers
        kinds = {"num_layers": num_layers, "dropout": dropout, "bidirectional": bidirectional}
        super().__init__(cell.upper(), input_size, hidden_size, batch_first=True, **kinds)

    @property
    def output_size(self) -> int:
        return self.hidden_size * (2 if self.bidirectional else 1)

    def forward(self, inputs: Tensor, layers: Layers | None = None, num_steps: Tensor | None = None) -> Tensor:
        """Outputs of the last layer, in the precision of the weights.

        Args:
            layers: stores the input and each layer's outputs, if requested.
            num_steps: int64 `[batch]`, number of steps per window that are not padding. The backward direction starts
                before the padding. Outputs in the padding are meaningless. None: no padding.
        """
        if num_steps is not None and not (self.bidirectional and may_be_short(num_steps, inputs.shape[1])):
            num_steps = None  # the forward direction reaches the padding last
        device = inputs.device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._in_full(inputs.to(self.weight_ih_l0.dtype), layers, num_steps)
        return self._in_full(inputs, layers, num_steps)

    def _in_full(self, inputs: Tensor, layers: Layers | None, num_steps: Tensor | None) -> Tensor:
        wants_layers = layers is not None and layers.hidden_states is not None
        if is_compiled() or wants_layers or num_steps is not None:
            return self._layer_by_layer(inputs, layers or Layers(), num_steps)
        self._update_flat_weights()  # as in nn.LSTM: flattens weights that a loader has replaced
        return _outputs(
            inputs, self._flat_weights, self.mode, self.num_layers, self.bidirectional, self.dropout, self.training
        )

    def _layer_by_layer(self, outputs: Tensor, layers: Layers, num_steps: Tensor | None) -> Tensor:
        weights = [getattr(self, name) for name in self._flat_weights_names]
        size = len(weights) // self.num_layers
        outputs = layers.start(outputs)
        for layer in range(self.num_layers):
            if layer and self.dropout:
                outputs = functional.dropout(outputs, self.dropout, self.training)
            own = weights[layer * size : (layer + 1) * size]
            outputs = self._layer(outputs, own) if num_steps is None else self._both_ways(outputs, own, num_steps)
            layers.add(outputs)
        return outputs

    def _layer(self, inputs: Tensor, weights: list[Tensor]) -> Tensor:
        if is_compiled():
            return recurrent_layer(inputs, weights, self.mode)
        return _outputs(inputs, weights, self.mode, 1, len(weights) == 8, training=self.training)

    def _both_ways(self, inputs: Tensor, weights: list[Tensor], num_steps: Tensor) -> Tensor:
        """A bidirectional layer as two unidirectional ones: the second reads the real steps of each window reversed."""
        half, steps = len(weights) // 2, torch.arange(inputs.shape[1], device=inputs.device)
        ends = num_steps.clamp(max=inputs.shape[1])[:, None]
        turned = torch.where(steps < ends, ends - 1 - steps, steps)[:, :, None]
        there = self._layer(inputs, weights[:half])
        back = self._layer(inputs.gather(1, turned.expand_as(inputs)), weights[half:])
        return torch.cat([there, back.gather(1, turned.expand_as(back))], dim=2)

    def last_outputs(self, outputs: Tensor, num_steps: Tensor | None = None) -> Tensor:
        """The output of each direction after its last step that is not padding: `[batch, steps, outputs]` ->
        `[batch, outputs]`; `num_steps` as in `forward`."""
        forwards = outputs[:, :, : self.hidden_size]
        if num_steps is None:
            forwards = forwards[:, -1]
        else:
            last = (num_steps - 1).clamp(0, outputs.shape[1] - 1)[:, None, None]
            forwards = forwards.gather(1, last.expand(-1, 1, self.hidden_size))[:, 0]
        return torch.cat([forwards, outputs[:, 0, self.hidden_size :]], dim=1) if self.bidirectional else forwards


def is_compiled() -> bool:
    """Whether a graph is being traced for torch.compile. Exported graphs use torch's own operators instead."""
    return torch.compiler.is_compiling() and not torch.compiler.is_exporting()


def may_be_short(num_steps: Tensor, steps: int) -> bool:
    """Whether a window has padding; also True if checking would synchronize with a GPU or break a graph."""
    if num_steps.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    return bool(num_steps.numpy().min(initial=steps) < steps)


class AdditiveAttention(nn.Module):
    """Weighted mean over steps; a step's weight is softmax(v · tanh(W h + b)) (Bahdanau et al. 2015, arXiv 1409.0473).

    In place of the decoder state in translation, a classifier has the constant b.
    """

    def __init__(self, size: int, attention_size: int | None = None) -> None:
        super().__init__()
        self.projection = nn.Linear(size, attention_size or size)
        self.score = nn.Linear(attention_size or size, 1, bias=False)

    def forward(self, outputs: Tensor, is_real: Tensor | None = None) -> Tensor:
        """`[batch, steps, size]` -> `[batch, size]`, over the steps where bool `is_real` `[batch, steps]` is true."""
        scores = self.score(torch.tanh(self.projection(outputs)))
        if is_real is not None:
            scores = scores.masked_fill(~is_real[:, :, None], -torch.inf)
        return (torch.softmax(scores, dim=1) * outputs).sum(dim=1)


def _outputs(
    inputs: Tensor,
    weights: list[Tensor],
    mode: str,
    num_layers: int,
    bidirectional: bool,
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """The functions that nn.LSTM and nn.GRU call, with an initial state of zeros."""
    hidden_size, directions = weights[1].shape[1], 2 if bidirectional else 1
    state = inputs.new_zeros(num_layers * directions, inputs.shape[0], hidden_size)
    options = (weights, True, num_layers, dropout, training, bidirectional, True)
    return torch.lstm(inputs, (state, state), *options)[0] if mode == "LSTM" else torch.gru(inputs, state, *options)[0]


def _one_layer(inputs: Tensor, weights: list[Tensor], mode: str, training: bool) -> Tensor:
    with torch.autocast(inputs.device.type, enabled=False):
        return _outputs(inputs, weights, mode, 1, len(weights) == 8, training=training).contiguous()


# One layer, opaque to the compiler with any backend. The backward pass recomputes the layer's forward pass, since an
# operator can only save tensors for it. So a compiled layer trains a third slower than an eager one, which a compiler
# cannot improve. A process may import this file twice, here and as the code of a published model: the second definition
# replaces an identical one.
@torch.library.custom_op("hf_audio::recurrent_layer", mutates_args=())
def recurrent_layer(inputs: Tensor, weights: list[Tensor], mode: str) -> Tensor:
    """Outputs `[batch, steps, hidden * directions]` of one LSTM or GRU layer, as one operator of a compiled graph."""
    return _one_layer(inputs, weights, mode, training=False)


@recurrent_layer.register_fake
def _(inputs, weights, mode):
    return inputs.new_empty(*inputs.shape[:2], weights[1].shape[1] * (len(weights) // 4))


@torch.library.custom_op("hf_audio::recurrent_layer_backward", mutates_args=())
def recurrent_layer_backward(gradient: Tensor, inputs: Tensor, weights: list[Tensor], mode: str) -> list[Tensor]:
    """Gradients of the inputs and of each weight, from the gradient of the outputs."""
    # Operators run without autograd; this guard, which torch.utils.checkpoint also uses, enables it again.
    with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False), torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (inputs, *weights)]
        outputs = _one_layer(leaves[0], leaves[1:], mode, training=True)
        return [found.contiguous() for found in torch.autograd.grad(outputs, leaves, gradient)]


@recurrent_layer_backward.register_fake
def _(gradient, inputs, weights, mode):
    return [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (inputs, *weights)]


def _keep_for_backward(ctx, inputs, output) -> None:
    sequence, weights, ctx.mode = inputs
    ctx.save_for_backward(sequence, *weights)


def _backward(ctx, gradient):
    inputs, *weights = ctx.saved_tensors
    of_inputs, *of_weights = recurrent_layer_backward(gradient, inputs, weights, ctx.mode)
    return of_inputs, of_weights, None


recurrent_layer.register_autograd(_backward, setup_context=_keep_for_backward)
