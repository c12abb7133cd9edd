"""Settings of the ensemble of dynamics models and of its fits."""

from dataclasses import dataclass
from typing import Literal

from moore.ranges import Fraction, NonNegative, Positive


@dataclass(frozen=True)
class ModelConfig:
    """Settings of the ensemble of dynamics models."""

    members: Positive[int] = 7
    """K: number of networks in the ensemble."""
    elites: Positive[int] = 5
    """Number of members that imagine: those with the lowest error on the held-out rows."""
    hidden: tuple[Positive[int], ...] = (200, 200, 200, 200)
    """Widths of the hidden layers."""
    weight_decay: tuple[NonNegative[float], ...] = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4, 1e-4)
    """Weight decay of each layer: the hidden layers, then the output of the mean, then that of the
    log variance."""
    learning_rate: Positive[float] = 1e-3
    """Learning rate of Adam."""
    refit_learning_rate: Positive[float] | None = None
    """Learning rate of refits. None uses `learning_rate`. Models whose fit was annealed need a
    smaller one: the rate of their beginning would throw them back."""
    batch_size: Positive[int] = 256
    """Number of rows in one training step of a member."""
    holdout_fraction: Fraction = 0.2
    """Share of the log, and of the online data, that is held out for validation."""
    max_holdout: Positive[int] = 1000
    """Largest number of rows of the log, and of the online data, that are held out."""
    warm_start: Literal["best", "last"] = "best"
    """Weights from which a refit continues. best: those with the lowest validation error of each
    member (MBPO); last: those at the end of the training before."""
    refit_normaliser: bool = True
    """Compute the normalisation of the inputs anew at each refit, with logged and online data
    weighted as the scheme weights them (MBPO weights all data alike). Off, the normalisation of the
    offline fit stays."""
    calibrate: bool = False
    """After each fit, scale the predicted standard deviation of every output so that it agrees with
    the errors on the held-out rows."""
    layer_norm: bool = False
    """Normalise the hidden layers of the members, without a learned scale and shift, so that long
    rollouts stay bounded."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Number format in which the hidden layers compute, in fits and in rollouts. Parameters,
    outputs and losses are float32 in any case. bfloat16 is for accelerators; CPUs are slower with
    it."""
    anneal: bool = False
    """Let the learning rate fall to 0 along half a cosine until the cap on the steps, so that a
    short fit comes as far as a longer one without it."""
    max_fit_steps: Positive[int] = 1_000_000
    """Largest number of gradient steps of the offline fit."""
    max_refit_steps: Positive[int] = 10_000
    """Largest number of gradient steps of one online refit."""
