"""The configuration of a run: frozen dataclasses, read from and written to TOML.

Field names follow Algorithm 1 of the paper; the docstrings give the paper's symbol.
"""

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from moore.agents.adaptive_bc import AdaptiveBCConfig
from moore.agents.awac import AWACConfig
from moore.agents.balanced import BalancedConfig
from moore.agents.cql import CQLConfig
from moore.agents.iql import IQLConfig
from moore.agents.sac import SACConfig
from moore.agents.wsrl import WSRLConfig
from moore.data.defects import check_accepted
from moore.dynamics.fit import ModelConfig
from moore.errors import InputError
from moore.files import short_path
from moore.ranges import check_numbers
from moore.replay.schemes import check_scheme
from moore.sinks.trackers import tracker_names
from moore.tables import flat as flat
from moore.tables import known_part, merge, plain


@dataclass(frozen=True)
class OfflineConfig:
    """The offline stage, MOPO (line 2 of Algorithm 1).

    Attributes:
        epochs: number of epochs; each is one round of rollouts and its updates.
        updates_per_epoch: gradient updates of the agent in an epoch.
        rollout_batch: rollouts started in an epoch.
        retain_epochs: epochs of rollouts that the imagined buffer holds.
        real_ratio: share of a batch that is drawn from the log, with unpenalised rewards.
        patience: epochs after which the stage may end, at least 2: as soon as the critics' mean
            targets of the last so many lie within a band of `tolerance` on either side. Then
            `epochs` is the most there may be. None: all epochs, as MOPO does.
        tolerance: of that rule, relative to the mean of these targets.
    """

    epochs: int = 1000
    updates_per_epoch: int = 1000
    rollout_batch: int = 50_000
    retain_epochs: int = 5
    real_ratio: float = 0.05
    patience: int | None = None
    tolerance: float = 0.01


@dataclass(frozen=True)
class OnlineConfig:
    """The online stage, MOORe (lines 4 to 20 of Algorithm 1).

    Attributes:
        epochs: T.
        steps_per_epoch: S, environment steps in an epoch; episodes go on over epoch borders.
        refit_every: phi, environment steps between refits of the models.
        rollout_batch: R, rollouts started after each refit.
        retain_epochs: epochs of rollouts that D_model holds.
        updates_per_step: N, gradient updates of the agent after each environment step.
        scheme: f(d, t): moore, uniform, half_half, online_only, linear:FROM:TO:EPOCHS, auto,
            peak_shift:EPS, module:function or priorities.npy; moore:2 sets alpha as well.
        alpha: the decay of moore's priority 1 / (alpha t), Eq. 4.
        real_ratio: share of a batch drawn from the real data by the same scheme; 0 in Algorithm 1.
        start_full: D_model starts full of what the offline models imagine, which then ages out,
            instead of with one batch of rollouts.
        random_steps: first environment steps that act uniformly at random, before any update; for
            algorithms that start from scratch.
        frozen_steps: first environment steps in which the policy acts and nothing is learned (the
            warm-up of WSRL).
        penalty_coef: lambda online. None: that of the offline stage.
        max_bad_readings: bad readings in a row (values that are not finite) after which the system
            is taken to be broken and the run ends.
        rollout_schedule: first epoch, last epoch, first length, last length: H grows linearly from
            epoch to epoch between them (MBPO). None: `rollout_length` throughout.
    """

    epochs: int = 100
    steps_per_epoch: int = 1000
    refit_every: int = 250
    rollout_batch: int = 100_000
    retain_epochs: int = 1
    updates_per_step: int = 20
    scheme: str = "moore"
    alpha: float = 1.0
    real_ratio: float = 0.0
    start_full: bool = False
    random_steps: int = 0
    frozen_steps: int = 0
    penalty_coef: float | None = None
    max_bad_readings: int = 10
    rollout_schedule: tuple[int, ...] | None = None


@dataclass(frozen=True)
class GateConfig:
    """Whether a new policy may act: it must be no worse in the models, with their penalty.

    Asked after every offline epoch, so that the policy that is handed over has passed too, and
    after every refit.

    Attributes:
        enabled: else the newest policy acts (line 10 of Algorithm 1).
        horizon: imagined steps over which the acting and the new policy are compared, discounted,
            from states that the scheme draws. None: whole episodes, from where those of the log
            begin, undiscounted.
        rollouts: from so many states, the same and with the same random numbers for both.
        penalised: compare the returns with the penalty, as the theory does (docs/theory.md), or
            without: lambda u summed over a whole episode is also a reason to end it early.
        confidence: standard errors that the difference must lie above zero; negative: may lie
            below.
        earned: online, a new policy must also come to what the acting one has really earned an
            episode, and none passes before an episode has ended. Over whole episodes alone.
    """

    enabled: bool = False
    horizon: int | None = None
    rollouts: int = 50
    penalised: bool = True
    confidence: float = 0.0
    earned: bool = False


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation of the deterministic policy, on seeds of its own.

    Attributes:
        episodes: episodes an evaluation, each in an environment of its own; every evaluation of a
            run uses the same start seeds. 0: nothing is evaluated, where there is no simulator.
        threshold: return for `epochs_to_threshold`; by default 95% of the best evaluation.
        candidate: with a gate, evaluate the newest policy too, also where the gate has refused it.
            Off: no refused policy ever acts in the environment.
    """

    episodes: int = 10
    threshold: float | None = None
    candidate: bool = True


def _cal_ql() -> CQLConfig:
    """Cal-QL bounds CQL's values; the rest is nakamotoo/Cal-QL's (conservative_sac_main.py)."""
    return CQLConfig(calibrated=True, max_target_backup=True, warm_up=0, hidden=(256, 256))


def _rlpd() -> SACConfig:
    """RLPD is SAC with ten normalised critics, two of which judge (ikostrikov/rlpd, configs)."""
    return SACConfig(
        critics=10, critic_subset=2, layer_norm=True, entropy_per_action=-0.5, actor_every=20
    )


@dataclass(frozen=True)
class Config:
    """A whole run.

    Attributes:
        dataset: the log: path.hdf5, path.npz, path.csv, path.parquet, path.mat, a folder of
            tables, minari:ID or builtin:NAME; several with commas.
        columns: the column map of a table (TOML, see docs/logs.md); empty: the one beside the log.
        reward: module:function(obs, action, next_obs) that computes the log's rewards, from (b,
            dims) arrays in its units; empty: they are in the log.
        max_rows: use at most this many rows of the log, whole episodes drawn at random; the draw is
            the same for every seed.
        fraction: use at most this share of the log's rows, drawn in the same way.
        env_id: the Gymnasium environment; empty: the one that the log names.
        env_args: arguments of `gymnasium.make` beside the id, a JSON object such as '{"load": 5}';
            empty: those that the log was recorded with, where it says so.
        episode_steps: steps after which an episode is cut. None: the environment's own limit, or
            what is measured where it states none.
        algorithm: a row of the table in moore.algorithms.
        accept: names of what would stop a run, to go on all the same; the message that stops it
            says the name.
        seed: of everything; a run is a function of its configuration, this included.
        standardise_obs: models and agents see every observation minus its mean, divided by its
            standard deviation, both of the log: then it does not matter in which units the
            observations come. Saved with the policy, which takes the observations as they are.
        scale_rewards: models and agents see rewards divided by their root mean square in the log:
            then it does not matter in which currency they come. Returns and metrics stay as they
            are; settings that count in rewards, such as awac.temperature, then count in these.
        uncertainty: u of Eq. 2. std: the largest norm of the members' standard deviations (MOPO);
            value: how far apart the members are in what they predict to be earned, reward and next
            state together, by the critics.
        penalty_coef: lambda of Eq. 2; a pure number where u is one of values.
        penalty_coverage: set lambda from the log instead, anew before each offline epoch: so that
            lambda u covers the models' one-step error, in units of value, on this share of the
            held-out transitions. `penalty_coef` is used for the first epoch alone.
        rollout_length: H, steps of an imagined rollout.
        horizons_per_episode: set sac.discount to 1 - this / the episode's step limit, where the log
            has terminals and that is more than the given one: a discount that forgets what an early
            end costs cannot see a fall coming. None: sac.discount as it is given.
        trust_quantile: a rollout also ends after a step whose u exceeds this quantile of u over
            real transitions, drawn by the scheme. None: rollouts end after H steps or by the rule.
        termination: auto (registry by environment), learned (a classifier fitted to the log's
            terminals), never, a known environment's id, or module:function.
        imagined_bound: an imagined observation ends its rollout where an entry is further from its
            mean in the log than so many of its standard deviations there. Without a log: further
            from 0, in the units that the models see.
        rollout_chunk: rollouts computed at a time; bounds the memory. Another size draws other
            random numbers.
        checkpoint_every: epochs between checkpoints.
        diagnostics: every online epoch also measure what the theory speaks of: whether the models
            expected their errors, how u changes with models and policy. No result depends on it.
        track: where the numbers of metrics.jsonl also go: tensorboard (event files in the run
            folder), wandb, trackio. Several with commas or spaces.
        tensorboard: the same as --track tensorboard; kept for one release.
        model: the ensemble of dynamics models.
        sac: the agent of the model-based algorithms, and of SAC from scratch.
        awac: the agent of AWAC.
        iql: the agent of IQL.
        cql: the agent of CQL.
        cal_ql: the agent of Cal-QL.
        balanced_replay: the agent of Balanced Replay.
        adaptive_bc: the agent of Adaptive BC.
        rlpd: the agent of RLPD, a SAC.
        wsrl: the agent of WSRL.
        offline: the offline stage.
        online: the online stage.
        gate: which policy is handed over and acts.
        evaluation: how policies are evaluated.
    """

    dataset: str = ""
    columns: str = ""
    reward: str = ""
    max_rows: int | None = None
    fraction: float | None = None
    env_id: str = ""
    env_args: str = ""
    episode_steps: int | None = None
    algorithm: str = "moore"
    accept: tuple[str, ...] = ()
    seed: int = 0
    standardise_obs: bool = False
    scale_rewards: bool = False
    uncertainty: typing.Literal["std", "value"] = "std"
    penalty_coef: float = 1.0
    penalty_coverage: float | None = None
    rollout_length: int = 5
    horizons_per_episode: float | None = None
    trust_quantile: float | None = None
    termination: str = "auto"
    imagined_bound: float = float("inf")
    rollout_chunk: int = 10_000
    checkpoint_every: int = 1
    diagnostics: bool = True
    track: tuple[str, ...] = ()
    tensorboard: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    awac: AWACConfig = field(default_factory=AWACConfig)
    iql: IQLConfig = field(default_factory=IQLConfig)
    cql: CQLConfig = field(default_factory=CQLConfig)
    cal_ql: CQLConfig = field(default_factory=_cal_ql)
    balanced_replay: BalancedConfig = field(default_factory=BalancedConfig)
    adaptive_bc: AdaptiveBCConfig = field(default_factory=AdaptiveBCConfig)
    rlpd: SACConfig = field(default_factory=_rlpd)
    wsrl: WSRLConfig = field(default_factory=WSRLConfig)
    offline: OfflineConfig = field(default_factory=OfflineConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self):
        check_numbers(self)
        check_accepted(self.accept)
        tracker_names(self.track)
        if self.seed >= 2**63:
            raise InputError("seed is too large a number; it must lie below 2**63.")
        check_scheme(
            self.online.scheme,
            self.online.alpha,
            steps_per_epoch=self.online.steps_per_epoch,
        )
        if self.online.alpha <= 0:
            raise InputError(f"online.alpha is {self.online.alpha}; it must be positive (Eq. 4).")
        if not 1 <= self.model.elites <= self.model.members:
            raise InputError(
                f"model.elites is {self.model.elites}; it must lie between 1 and "
                f"model.members ({self.model.members})."
            )
        layers = len(self.model.hidden) + 2
        if len(self.model.weight_decay) != layers:
            raise InputError(
                f"model.weight_decay has {len(self.model.weight_decay)} entries; "
                f"{len(self.model.hidden)} hidden layers and two heads need {layers}."
            )
        for name, section in vars(self).items():
            subset = getattr(section, "critic_subset", None)
            if subset is not None and subset > section.critics:
                raise InputError(
                    f"{name}.critic_subset is {subset}; it must be at most {name}.critics "
                    f"({section.critics})."
                )
        if self.gate.earned and self.gate.horizon is not None:
            raise InputError(
                "gate.earned compares with whole episodes; leave gate.horizon out, or gate.earned."
            )
        if self.offline.patience == 1:
            raise InputError("offline.patience is 1; it must be at least 2 epochs.")
        schedule = self.online.rollout_schedule
        if schedule is not None and (len(schedule) != 4 or schedule[0] >= schedule[1]):
            raise InputError(
                f"online.rollout_schedule is {list(schedule)}; expected first epoch, a later last "
                "epoch, first length, last length."
            )
        if self.online.steps_per_epoch % self.online.refit_every:
            raise InputError(
                f"online.steps_per_epoch ({self.online.steps_per_epoch}) must be a multiple of "
                f"online.refit_every ({self.online.refit_every})."
            )

    @property
    def trackers(self) -> tuple[str, ...]:
        """The setting `track`, with what `tensorboard` adds to it."""
        return ("tensorboard", *self.track) if self.tensorboard else self.track


def from_dict(values: dict, *, base: Config | None = None) -> Config:
    """A configuration from nested dictionaries, over `base` or the defaults.

    Raises:
        InputError: an unknown name (the known ones are listed) or a value of the wrong type.
    """
    return merge(base if base is not None else Config(), values)


def known_settings(values: dict) -> tuple[dict, list[str]]:
    """Nested settings without those of no known name; and the names that were left out."""
    return known_part(Config, values)


def to_dict(config: Config) -> dict:
    """Nested dictionaries of plain TOML values.

    A setting that is None is left out where that is its default, else it is the text `none`.
    """
    return plain(dataclasses.asdict(config), dataclasses.asdict(Config()))


def to_toml(config: Config) -> str:
    return tomli_w.dumps(to_dict(config))


def read_toml(path: Path) -> Config:
    """The configuration of a run folder, or one written by hand.

    Raises:
        InputError: missing or unreadable file, unknown setting, wrong type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no configuration at {short_path(path)}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    return from_dict(values)
