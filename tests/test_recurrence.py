from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hf_audio.models.recurrence import AdditiveAttention, Recurrence

STEPS, INPUTS, HIDDEN = 9, 5, 6
KINDS = [("lstm", False), ("lstm", True), ("gru", False), ("gru", True)]
GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


def pair(cell: str, bidirectional: bool, dropout: float = 0.0, device: str = "cpu") -> tuple[Recurrence, nn.RNNBase]:
    """Our layer and torch's, with the same weights."""
    torch.manual_seed(0)
    ours = Recurrence(cell, INPUTS, HIDDEN, 2, dropout, bidirectional)
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    theirs = kind(INPUTS, HIDDEN, 2, batch_first=True, dropout=dropout, bidirectional=bidirectional)
    theirs.load_state_dict(ours.state_dict())
    return ours.to(device), theirs.to(device)


def results(layer, inputs: torch.Tensor, module: nn.Module | None = None) -> list[torch.Tensor]:
    """Outputs, and gradients of the inputs and of all weights."""
    module = module or layer
    module.zero_grad()
    inputs = inputs.clone().requires_grad_()
    outputs = layer(inputs)
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    outputs.float().square().sum().backward()
    return [outputs.detach(), inputs.grad, *(weights.grad.clone() for weights in module.parameters())]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("cell", "bidirectional"), KINDS)
def test_outputs_and_gradients_are_those_of_torch(cell, bidirectional, device):
    ours, theirs = pair(cell, bidirectional, device=device)
    inputs = torch.randn(3, STEPS, INPUTS, device=device)
    torch.testing.assert_close(results(ours, inputs), results(theirs, inputs), rtol=0, atol=0)
    assert ours(inputs).shape[2] == ours.output_size
    with pytest.raises(ValueError, match="Unknown cell 'rnn': expected one of lstm, gru"):
        Recurrence("rnn", INPUTS, HIDDEN)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("cell", "bidirectional"), KINDS)
def test_compiled_it_gives_the_same_outputs_and_gradients(cell, bidirectional, device):
    """With a backend that, like the default one, traces the backward pass too; one graph serves all lengths."""
    torch._dynamo.reset()
    ours, _ = pair(cell, bidirectional, device=device)
    graphs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(ours, fullgraph=True, backend=graphs)
    for steps in (STEPS, 31, 2, 300):
        inputs = torch.randn(3, steps, INPUTS, device=device)
        torch.testing.assert_close(results(compiled, inputs), results(ours, inputs), rtol=1e-5, atol=1e-5)
    assert graphs.frame_count <= 2, "one for the first length, one for all others"


def test_the_operator_meets_the_rules_of_torch_opcheck():
    from torch.library import opcheck

    ours, _ = pair("lstm", True)
    weights = [weight.detach().requires_grad_() for weight in list(ours.parameters())[:8]]
    inputs = torch.randn(2, STEPS, INPUTS, requires_grad=True)
    opcheck(torch.ops.hf_audio.recurrent_layer, (inputs, weights, "LSTM"))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_under_autocast_it_computes_in_float32(cell):
    """Outputs and gradients are those of float32 up to rounding; half precision would lose them in long sequences."""
    torch._dynamo.reset()
    ours, _ = pair(cell, True)
    half = torch.randn(3, STEPS, INPUTS).bfloat16()  # the output of an earlier layer under autocast
    wanted = results(ours, half.float())
    for layer in (ours, torch.compile(ours, fullgraph=True, backend="aot_eager")):
        found = results(lambda inputs, layer=layer: in_autocast(layer, inputs), half.float(), ours)
        assert found[0].dtype == torch.float32
        torch.testing.assert_close(found, wanted)
    with torch.autocast("cpu", torch.bfloat16), Types() as seen:
        ours(half)
    assert seen.types == {torch.float32}, "its kernels get float32"


def in_autocast(layer, inputs: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return layer(inputs)


class Types(TorchDispatchMode):
    """Collects the floating-point types of the inputs of matrix products and recurrent kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(part in str(function) for part in ("mm", "lstm", "gru", "rnn", "linear")):
            tensors = [one for one in tree_leaves(args) if isinstance(one, torch.Tensor)]
            self.types |= {one.dtype for one in tensors if one.is_floating_point()}
        return function(*args, **(kwargs or {}))


def test_dropout_is_between_layers_and_in_training_only():
    torch._dynamo.reset()
    ours, _ = pair("lstm", False, dropout=0.5)
    inputs = torch.randn(3, STEPS, INPUTS)
    for layer in (ours, torch.compile(ours, fullgraph=True, backend="eager")):
        ours.train()
        assert not torch.equal(layer(inputs), layer(inputs))
        ours.eval()
        assert torch.equal(layer(inputs), layer(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of dropout that has no effect
        assert Recurrence("lstm", INPUTS, HIDDEN, 1, 0.5).dropout == 0


def test_last_outputs_have_read_everything():
    """The last output of each direction depends on the step that the direction reads first."""
    ours, theirs = pair("lstm", True)
    inputs = torch.randn(3, STEPS, INPUTS)
    states = theirs(inputs)[1][0]  # [layers * directions, batch, hidden]
    torch.testing.assert_close(ours.last_outputs(ours(inputs)), torch.cat([states[-2], states[-1]], dim=1))
    ours, theirs = pair("lstm", False)
    torch.testing.assert_close(ours.last_outputs(ours(inputs)), theirs(inputs)[1][0][-1])


def test_a_copy_with_other_weights_uses_them():
    """transformers loads a checkpoint like this: it replaces the initial parameters by others."""
    ours, _ = pair("lstm", False)
    other, inputs = copy.deepcopy(ours), torch.randn(3, STEPS, INPUTS)
    for name, weights in list(other.named_parameters()):
        other._parameters[name] = nn.Parameter(weights.detach() * 2)
    assert not torch.allclose(other(inputs), ours(inputs))
    ours.load_state_dict(other.state_dict())
    assert torch.equal(other(inputs), ours(inputs))


def test_additive_attention_is_a_weighted_mean():
    torch.manual_seed(0)
    attention, outputs = AdditiveAttention(HIDDEN, 4), torch.randn(2, STEPS, HIDDEN)
    for window, found in zip(outputs, attention(outputs), strict=True):
        scores = [
            attention.score.weight[0] @ torch.tanh(attention.projection.weight @ step + attention.projection.bias)
            for step in window
        ]
        weights = torch.softmax(torch.stack(scores), dim=0)
        torch.testing.assert_close(found, sum(weight * step for weight, step in zip(weights, window, strict=True)))
