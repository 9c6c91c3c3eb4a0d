"""Settings of an explanation: class, windows, methods, baseline and checks."""

from __future__ import annotations

from dataclasses import dataclass, field

from hf_audio.errors import InputError, unknown_name
from hf_audio.explaining.methods import METHODS, MethodSettings
from hf_audio.explaining.questions import BASELINES

MAX_WINDOWS = 20
OF_BASELINE = ("input_x_gradient", "integrated_gradients", "occlusion")  # methods that use the baseline
MIN_GRADIENT_STEPS, MAX_GRADIENT_STEPS = 4, 1000


@dataclass(frozen=True)
class ExplainSettings:
    """See the flags of scripts/explain.py.

    Attributes:
        target: name of the class; None explains the predicted class of each recording.
        methods: names; None uses all that suit the model.
        num_windows: maximum number of windows per recording.
        window_s, hop_s: how a recording is cut; None is as the model was trained.
        baseline: a key of BASELINES; None is "quiet", or "mean" for vectors.
        of_methods: settings of individual methods.
        has_checks: whether to run the checks: curves and randomized weights.
        seed: for random orders and weights.

    Raises:
        InputError: a setting that is invalid, or would have no effect.
    """

    target: str | None = None
    methods: tuple[str, ...] | None = None
    num_windows: int = 3
    window_s: float | None = None
    hop_s: float | None = None
    baseline: str | None = None
    of_methods: MethodSettings = field(default_factory=MethodSettings)
    has_checks: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.methods or ():
            if name not in METHODS:
                raise unknown_name("method", name, METHODS)
        if self.baseline is not None and self.baseline not in BASELINES:
            raise unknown_name("baseline", self.baseline, BASELINES)
        if not 1 <= self.num_windows <= MAX_WINDOWS:
            raise InputError(f"--num_windows must be 1 to {MAX_WINDOWS}, found {self.num_windows}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed must be 0 or more, found {self.seed}: try 0")
        if self.seed and not self.has_checks:
            raise InputError("--seed has no effect with --skip_checks, since only the checks are random: leave it out")
        uses_baseline = self.has_checks or self.methods is None or set(OF_BASELINE) & set(self.methods)
        if self.baseline is not None and not uses_baseline:
            raise InputError(
                f"--baseline has no effect on {', '.join(self.methods)} with --skip_checks: leave it out, or add one "
                f"of {', '.join(OF_BASELINE)}"
            )
        self._check_of_methods()

    def _check_of_methods(self) -> None:
        steps, seconds, bands = self.of_methods
        if not MIN_GRADIENT_STEPS <= steps <= MAX_GRADIENT_STEPS:
            raise InputError(f"--gradient_steps must be {MIN_GRADIENT_STEPS} to {MAX_GRADIENT_STEPS}, found {steps}")
        given = {
            "gradient_steps": ("integrated_gradients", steps != MethodSettings().gradient_steps),
            "occlusion_s": ("occlusion", seconds is not None),
            "occlusion_bands": ("occlusion", bands is not None),
        }
        for flag, (method, is_given) in given.items():
            if is_given and self.methods is not None and method not in self.methods:
                raise InputError(f"--{flag} has no effect without the method {method}: add it to --methods")
