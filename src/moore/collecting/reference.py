"""Returns of a random policy and of an expert, known from D4RL, given, or measured."""

from moore.collecting.recipe import Recipe, cut_after, make_recipe_env
from moore.collecting.training import SACTraining, best
from moore.envs.evaluation import evaluate_policy, random_policy, run_episodes
from moore.envs.make import episode_seed
from moore.envs.several import close_all, open_all
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.sinks.console import Reporter

# D4RL's random score is the mean of 100 episodes; policies are measured over 20.
RANDOM_EPISODES, EXPERT_EPISODES = 100, 20


def reference_returns(
    recipe: Recipe, learner: SACTraining, report: Reporter
) -> ReferenceScores | None:
    """The returns that scores count as 0 and 100: D4RL's, where it has the environment.

    Otherwise the user gives the expert's return, or the best policy of a training of SAC is
    measured. None for random rows of an environment without a known expert, which need no training.
    """
    known = reference_scores(recipe.env_id)
    if known is None and recipe.tier == "random" and recipe.expert_return is None:
        report.say(
            f"no expert's return is known for {recipe.env_id}, so the log has no normalised score "
            "(--expert-return gives one)."
        )
        return None
    low = known.random if known else _random_return(recipe)
    if recipe.expert_return is not None:
        high, source = recipe.expert_return, "expert given"
    elif known:
        return known
    else:
        report.say(
            f"no expert's return is known for {recipe.env_id}: the best policy of "
            f"{recipe.train_steps:,} steps of SAC is measured (--expert-return gives one)."
        )
        learner.advance(lambda rows: False)
        policy = learner.policy(best(learner.curve())["epoch"])
        episodes = evaluate_policy(
            policy,
            recipe.env_id,
            episodes=EXPERT_EPISODES,
            seed=recipe.seed,
            limit=cut_after(recipe),
        )
        high = episodes.mean_return
        source = (
            f"expert: best policy of {recipe.train_steps} steps of SAC, {EXPERT_EPISODES} episodes"
        )
    if not high > low:
        raise InputError(
            f"the expert's return {high:g} is not above the random one, {low:g}; train for more "
            "--train-steps, or give --expert-return."
        )
    random = "random: D4RL infos.py" if known else f"random: {RANDOM_EPISODES} episodes"
    return ReferenceScores(low, high, source=f"{random}; {source}")


def _random_return(recipe: Recipe) -> float:
    envs = open_all(lambda: make_recipe_env(recipe), RANDOM_EPISODES)
    seeds = [episode_seed(recipe.seed, "random", i) for i in range(RANDOM_EPISODES)]
    try:
        policy = random_policy(envs[0].bounds.low.size, recipe.seed)
        return run_episodes(envs, policy, seeds).mean_return
    finally:
        close_all(envs)
