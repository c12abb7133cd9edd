"""Settings of a whole run."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from moore.agents.sac import SACConfig
from moore.config.checks import check
from moore.config.evaluation import EvaluationConfig
from moore.config.found import found_sections
from moore.config.gate import GateConfig
from moore.config.offline import OfflineConfig
from moore.config.online import OnlineConfig
from moore.dynamics.model_config import ModelConfig
from moore.ranges import (
    AnySign,
    Fraction,
    FractionBelowOne,
    NonNegative,
    Positive,
    PositiveOrInfinite,
    Seed,
)


def _with_found(settings: type) -> type:
    """The class, also with those sections of agents and models that it does not name itself."""
    for name, section in found_sections().items():
        if name not in settings.__annotations__:
            settings.__annotations__[name] = type(section.settings())
            made = field(default_factory=section.settings, metadata={"help": section.about})
            setattr(settings, name, made)
    return settings


@dataclass(frozen=True)
@_with_found
class Config:
    """All settings of a run. The same settings give the same run."""

    dataset: str = ""
    """The log: path.hdf5, path.npz, path.csv, path.parquet, path.mat, a folder of tables, minari:ID
    or builtin:NAME. Separate several logs with commas."""
    columns: str = ""
    """TOML file that maps the columns of a table (docs/logs.md). Empty uses the map that lies
    beside the log."""
    reward: str = ""
    """Function that computes the rewards of the log, as module:function. It takes the arrays obs,
    action and next_obs of shape (b, dims), in the units of the log. Empty uses the rewards that the
    log holds."""
    max_rows: Positive[int] | None = None
    """Use at most this many rows of the log. Whole episodes are drawn at random, the same ones for
    every seed."""
    fraction: Positive[float] | None = None
    """Use at most this share of the rows of the log, drawn in the same way as for `max_rows`."""
    env_id: str = ""
    """Id of the Gymnasium environment. Empty uses the environment that the log names."""
    env_args: str = ""
    """Arguments of `gymnasium.make` besides the id, as a JSON object such as '{"load": 5}'. Empty
    uses the arguments that the log was recorded with, if it names them."""
    action_low: tuple[AnySign[float], ...] = ()
    """Lower bounds of the entries of an action, for a plant that has no environment. Then only the
    offline stage can be run, and a session acts in the plant. Empty uses the environment."""
    action_high: tuple[AnySign[float], ...] = ()
    """Upper bounds of the entries of an action, given with `action_low`."""
    episode_steps: Positive[int] | None = None
    """Cut episodes after this many steps. None uses the environment's own limit, or a measured
    limit if the environment states none."""
    algorithm: str = "moore"
    """Name of the algorithm, such as moore_safe, moore, iql or sac. Most presets bring moore_safe.
    The table in docs/algorithms.md lists all of them."""
    accept: tuple[str, ...] = ()
    """Names of problems in the log that you accept although they would stop the run. The message
    that stops a run gives the name of its problem."""
    seed: Seed = 0
    """Seed of all random numbers. The same configuration with the same seed gives the same run."""
    standardise_obs: bool = False
    """Models and agents see every observation minus its mean in the log, divided by its standard
    deviation in the log, so the units of the observations do not matter. The saved policy does
    this conversion itself and takes observations in their own units."""
    scale_rewards: bool = False
    """Models and agents see rewards divided by the root mean square of the rewards in the log, so
    the unit of the rewards does not matter. Returns and metrics stay in the unit of the log.
    Settings that are measured in rewards, such as awac.temperature, then refer to divided
    rewards."""
    uncertainty: Literal["std", "value"] = "std"
    """u of Eq. 2, how uncertain the models are about a step. std is the largest norm of the
    members' standard deviations (MOPO). value is how far apart the members are in the value of
    the step that they predict: its reward and, by the critics, its next state."""
    penalty_coef: NonNegative[float] = 1.0
    """lambda of Eq. 2: the reward of an imagined step is lowered by lambda u. It has no unit if
    `uncertainty` is value."""
    penalty_coverage: Fraction | None = None
    """Measure lambda on the log before each offline epoch, so that lambda u is at least the error
    of the models' one-step predictions, in units of value, for this share of the held-out
    transitions. `penalty_coef` then applies to the first epoch only. None uses `penalty_coef`
    throughout."""
    rollout_length: Positive[int] = 5
    """H: number of steps of an imagined rollout."""
    clone: bool = False
    """Clone the better part of the log before anything is learned, and let the clone act until the
    models call another policy better, and with `gate.earned` also worth more than what the cloned
    episodes earned."""
    dip_budget: FractionBelowOne | None = None
    """Share of what the handed-over policy earns that trials of new policies may cost, over the
    whole online stage and at every moment of it, beyond one episode. 0 allows no trials. None has
    no budget: the newest policy acts, or the one that the gate lets through."""
    dip_budget_per: Literal["episode", "step"] = "episode"
    """What the budget compares with what the handed-over policy earns: as many episodes, or as many
    steps. They differ where episodes end early. By episodes, one that ends early has lost its rest:
    right where an end costs time or money, as the trip of a plant does. By steps, the next one
    begins at once, as in a simulator, so a fall costs little and many more policies are tried."""
    horizons_per_episode: Positive[float] | None = None
    """Raise the discount of sac or ppo to 1 - n / (step limit of an episode), where n is this
    number, if the log has terminals: with a short horizon the critic barely notices an early
    termination. None leaves the discount as it is."""
    control_interval: Positive[float] | None = None
    """Seconds from one action to the next. It is needed for `settling_time`."""
    settling_time: Positive[float] | None = None
    """Seconds in which the system settles if it is controlled well. The discount of every agent of
    the run then looks three times as far ahead: it is 1 - control_interval / (3 settling_time),
    whatever the agent's section says. `horizons_per_episode` may still raise it. None leaves the
    discounts as they are."""
    trust_quantile: Fraction | None = None
    """Also end a rollout after a step whose u exceeds this quantile of u over real transitions,
    which the scheme draws. None ends rollouts after H steps or at a predicted termination only."""
    termination: str = "auto"
    """Rule that says when an imagined episode terminates. auto: the known rule of the environment;
    learned: a classifier fitted to the terminals in the log; never; the id of an environment whose
    rule is known; or a function of your own, as module:function."""
    imagined_bound: PositiveOrInfinite = float("inf")
    """End a rollout when an entry of the imagined observation is more than this many standard
    deviations from its mean, both measured in the log. Without a log: further than this from 0, in
    the units that the models see."""
    imagined_range: NonNegative[float] | None = None
    """Cut imagined observations to the range that each entry has in the log and the online data,
    widened on both sides by this share of it: real systems have limits, and models that are left
    without any run away in long rollouts. None cuts nothing."""
    one_member: bool = False
    """Let every rollout keep the member of the ensemble that it began with. Off, each step draws a
    member anew, as MBPO does. Where algorithms learn from chains, this is for the gate alone."""
    member_noise: bool = True
    """Draw the noise that a member predicts at every step of a rollout. Off, rollouts follow the
    members' means: better if the system itself has little noise, because a member's noise is then
    mostly its error of training."""
    rollout_chunk: Positive[int] = 10_000
    """Number of rollouts that are computed at a time, which limits the memory in use. Another value
    gives other random numbers."""
    checkpoint_every: Positive[int] = 1
    """Number of epochs between two checkpoints."""
    diagnostics: bool = True
    """In every online epoch also measure the quantities of the theory: how well the models foresaw
    their own errors, and how u changes with the models and with the policy. This does not change
    the result of the run."""
    track: tuple[str, ...] = ()
    """Where the numbers of metrics.jsonl go besides that file: tensorboard (event files in the run
    folder), wandb, trackio. Separate several with commas or spaces."""
    tensorboard: bool = False
    """The same as --track tensorboard. This flag stays for one release."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Settings of the ensemble of dynamics models."""
    sac: SACConfig = field(default_factory=SACConfig)
    """Settings of SAC, the agent of all model-based algorithms and of SAC from scratch."""
    offline: OfflineConfig = field(default_factory=OfflineConfig)
    """Settings of the offline stage."""
    online: OnlineConfig = field(default_factory=OnlineConfig)
    """Settings of the online stage."""
    gate: GateConfig = field(default_factory=GateConfig)
    """Settings of the gate, which decides whether a new policy may act."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Settings of the evaluation of policies."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The sections that were found."""

    def __post_init__(self):
        check(self)

    @property
    def trackers(self) -> tuple[str, ...]:
        """The setting `track`, with what `tensorboard` adds to it."""
        return ("tensorboard", *self.track) if self.tensorboard else self.track
