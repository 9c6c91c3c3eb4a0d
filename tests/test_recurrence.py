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
    """Ours and torch's own, with the same weights."""
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
def test_it_is_torch_s_layer(cell, bidirectional, device):
    ours, theirs = pair(cell, bidirectional, device=device)
    inputs = torch.randn(3, STEPS, INPUTS, device=device)
    torch.testing.assert_close(results(ours, inputs), results(theirs, inputs), rtol=0, atol=0)
    assert ours(inputs).shape[2] == ours.output_size
    with pytest.raises(ValueError, match="Unknown cell 'rnn': expected one of lstm, gru"):
        Recurrence("rnn", INPUTS, HIDDEN)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("cell", "bidirectional"), KINDS)
def test_compiled_it_gives_the_same_outputs_and_gradients(cell, bidirectional, device):
    """With a backend that traces the backward pass too, as the default one does; any length with one graph."""
    torch._dynamo.reset()
    ours, _ = pair(cell, bidirectional, device=device)
    graphs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(ours, fullgraph=True, backend=graphs)
    for steps in (STEPS, 31, 2, 300):
        inputs = torch.randn(3, steps, INPUTS, device=device)
        torch.testing.assert_close(results(compiled, inputs), results(ours, inputs), rtol=1e-5, atol=1e-5)
    assert graphs.frame_count <= 2, "one for the first length, one for all others"


def test_the_operator_keeps_what_torch_asks_of_operators():
    from torch.library import opcheck

    ours, _ = pair("lstm", True)
    weights = [weight.detach().requires_grad_() for weight in list(ours.parameters())[:8]]
    inputs = torch.randn(2, STEPS, INPUTS, requires_grad=True)
    opcheck(torch.ops.hf_audio.recurrent_layer, (inputs, weights, "LSTM"))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_under_autocast_it_computes_in_float32(cell):
    """Outputs and gradients are those of float32 to the last digits; in half precision long sequences lose them."""
    torch._dynamo.reset()
    ours, _ = pair(cell, True)
    half = torch.randn(3, STEPS, INPUTS).bfloat16()  # what a layer in front of it gives under autocast
    wanted = results(ours, half.float())
    for layer in (ours, torch.compile(ours, fullgraph=True, backend="aot_eager")):
        found = results(lambda inputs, layer=layer: in_autocast(layer, inputs), half.float(), ours)
        assert found[0].dtype == torch.float32
        torch.testing.assert_close(found, wanted)
    with torch.autocast("cpu", torch.bfloat16), Types() as seen:
        ours(half)
    assert seen.types == {torch.float32}, "what its kernels are given"


def in_autocast(layer, inputs: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return layer(inputs)


class Types(TorchDispatchMode):
    """Collects the types of floats that matrix products and recurrent kernels are given."""

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
        warnings.simplefilter("error")  # torch warns of a dropout that has no place
        assert Recurrence("lstm", INPUTS, HIDDEN, 1, 0.5).dropout == 0


def test_last_outputs_have_read_everything():
    """Each direction's last output depends on the step that it reads first."""
    ours, theirs = pair("lstm", True)
    inputs = torch.randn(3, STEPS, INPUTS)
    states = theirs(inputs)[1][0]  # [layers * directions, batch, hidden]
    torch.testing.assert_close(ours.last_outputs(ours(inputs)), torch.cat([states[-2], states[-1]], dim=1))
    ours, theirs = pair("lstm", False)
    torch.testing.assert_close(ours.last_outputs(ours(inputs)), theirs(inputs)[1][0][-1])


def test_a_copy_with_other_weights_uses_them():
    """As transformers loads a checkpoint: by putting other parameters in the place of the first ones."""
    ours, _ = pair("lstm", False)
    other, inputs = copy.deepcopy(ours), torch.randn(3, STEPS, INPUTS)
    for name, weights in list(other.named_parameters()):
        other._parameters[name] = nn.Parameter(weights.detach() * 2)
    assert not torch.allclose(other(inputs), ours(inputs))
    ours.load_state_dict(other.state_dict())
    assert torch.equal(other(inputs), ours(inputs))


def test_additive_attention_is_the_mean_by_its_own_weights():
    torch.manual_seed(0)
    attention, outputs = AdditiveAttention(HIDDEN, 4), torch.randn(2, STEPS, HIDDEN)
    for window, found in zip(outputs, attention(outputs), strict=True):
        scores = [
            attention.score.weight[0] @ torch.tanh(attention.projection.weight @ step + attention.projection.bias)
            for step in window
        ]
        weights = torch.softmax(torch.stack(scores), dim=0)
        torch.testing.assert_close(found, sum(weight * step for weight, step in zip(weights, window, strict=True)))
