"""The theory of the paper (section 3.3, appendix A) on finite MDPs: printed and corrected.

Every statement is a function that returns both of its sides, see `Bound`. `moore theory` prints
them all, on counterexamples and on random MDPs. How f(d, t) changes the draws is in
`moore.replay.schedule`; its functions can be imported from here too.
"""

from moore.replay.schedule import (
    alpha_for_peak_tv,
    crossover_epoch,
    offline_priority,
    peak_tv_bound,
    sampling_tv,
    schedule,
)
from moore.theory.bound import Bound, Reading, rmax, trivial_gap, vmax
from moore.theory.counterexamples import Counterexample, cases
from moore.theory.empirical import model_shift_bound, value_shift_bound
from moore.theory.files import read_transfer
from moore.theory.generators import (
    perturb,
    random_masses,
    random_mdp,
    random_policy,
    random_transfer,
)
from moore.theory.guarantees import (
    admissible_penalty,
    drop_bound,
    drop_bound_two_sided,
    gate_bound,
    no_degradation,
    sampling_error,
)
from moore.theory.mdp import (
    D_l1,
    TabularMDP,
    eta,
    expect,
    l1,
    occupancy,
    optimal,
    policy_values,
    q_values,
    span,
    tv,
    value_iteration,
    value_range,
)
from moore.theory.model_change import (
    Correction,
    eq8,
    eq9,
    lemma1,
    suboptimal_eq9,
    theorem1,
    value_drift,
)
from moore.theory.model_error import eq13, lemma2
from moore.theory.models import (
    LearnedModel,
    Transfer,
    ensemble_model,
    penalize,
    uncertainty,
    weighted_mle,
)
from moore.theory.survey import STATEMENTS, Row, counterexample_table, survey
from moore.theory.transfer import (
    RelativeUncertaintyError,
    relative_uncertainty_error,
    theorem2,
    theorem2_identity,
)

__all__ = [
    "STATEMENTS",
    "Bound",
    "Correction",
    "Counterexample",
    "D_l1",
    "LearnedModel",
    "Reading",
    "RelativeUncertaintyError",
    "Row",
    "TabularMDP",
    "Transfer",
    "admissible_penalty",
    "alpha_for_peak_tv",
    "cases",
    "counterexample_table",
    "crossover_epoch",
    "drop_bound",
    "drop_bound_two_sided",
    "ensemble_model",
    "eq8",
    "eq9",
    "eq13",
    "eta",
    "expect",
    "gate_bound",
    "l1",
    "lemma1",
    "lemma2",
    "model_shift_bound",
    "no_degradation",
    "occupancy",
    "offline_priority",
    "optimal",
    "peak_tv_bound",
    "penalize",
    "perturb",
    "policy_values",
    "q_values",
    "random_masses",
    "random_mdp",
    "random_policy",
    "random_transfer",
    "read_transfer",
    "relative_uncertainty_error",
    "rmax",
    "sampling_error",
    "sampling_tv",
    "schedule",
    "span",
    "suboptimal_eq9",
    "survey",
    "theorem1",
    "theorem2",
    "theorem2_identity",
    "trivial_gap",
    "tv",
    "uncertainty",
    "value_drift",
    "value_iteration",
    "value_range",
    "value_shift_bound",
    "vmax",
    "weighted_mle",
]
