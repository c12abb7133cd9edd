"""MOPO in plain PyTorch, at its paper's constants, with the division of work of OfflineRL-Kit.

Written anew from the algorithm: an ensemble with batched weights, two critics with an optimiser
each, rollouts that go through NumPy at every step. The Kit itself needs an older gym and D4RL, so
it cannot be installed beside the others.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from work import ROLLOUTS, STEP, UPDATE, Operation, Sizes, made_rows

WHO = "PyTorch, as OfflineRL-Kit"
# MOPO's: weight decay of each layer, coefficient of the bounds of the log-variance, lambda.
DECAY, BOUND_COEF, PENALTY_COEF = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4), 0.01, 1.0


def network(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Sac:
    """SAC with two critics and an adapted temperature."""

    def __init__(self, sizes: Sizes):
        critic = (sizes.obs + sizes.action, *sizes.hidden, 1)
        self.actor = network((sizes.obs, *sizes.hidden, 2 * sizes.action))
        self.critics, self.targets = ([network(critic) for _ in range(2)] for _ in range(2))
        for target, source in zip(self.targets, self.critics, strict=True):
            target.load_state_dict(source.state_dict())
        self.log_temperature = torch.zeros(1, requires_grad=True)
        self.wanted = -float(sizes.action)
        learned = (self.actor.parameters(), *(c.parameters() for c in self.critics))
        self.steps = [torch.optim.Adam(p, 3e-4) for p in (*learned, [self.log_temperature])]

    def act(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(obs).chunk(2, dim=-1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-5.0, 2.0).exp())
        raw = normal.rsample()
        action = torch.tanh(raw)
        density = normal.log_prob(raw) - torch.log(1.0 - action**2 + 1e-6)
        return action, density.sum(-1, keepdim=True)

    def learn(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    def update(self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor) -> list[float]:
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            next_action, density = self.act(next_obs)
            both = torch.cat([next_obs, next_action], -1)
            next_q = torch.min(*(target(both) for target in self.targets)) - temperature * density
            wanted = reward + 0.99 * next_q
        both, told = torch.cat([obs, action], -1), []
        for critic, optimiser in zip(self.critics, self.steps[1:3], strict=True):
            told.append(self.learn(optimiser, F.mse_loss(critic(both), wanted)))
        action, density = self.act(obs)
        both = torch.cat([obs, action], -1)
        value = torch.min(*(critic(both) for critic in self.critics))
        told.append(self.learn(self.steps[0], (temperature * density - value).mean()))
        entropy = -(self.log_temperature * (density.detach() + self.wanted)).mean()
        told.append(self.learn(self.steps[3], entropy))
        with torch.no_grad():
            for target, source in zip(self.targets, self.critics, strict=True):
                for old, new in zip(target.parameters(), source.parameters(), strict=True):
                    old.lerp_(new, 0.005)
        return told


class Ensemble:
    """Probabilistic networks with batched weights, both heads in one layer."""

    def __init__(self, sizes: Sizes):
        outputs = sizes.obs + 1
        widths = (sizes.obs + sizes.action, *sizes.model_hidden, 2 * outputs)
        self.layers = []
        for n, m in pairwise(widths):
            weight = torch.empty(sizes.members, n, m)
            nn.init.trunc_normal_(weight, std=1.0 / (2.0 * n**0.5))
            self.layers.append((weight.requires_grad_(), torch.zeros(sizes.members, 1, m)))
            self.layers[-1][1].requires_grad_()
        self.high = torch.full((outputs,), 0.5, requires_grad=True)
        self.low = torch.full((outputs,), -10.0, requires_grad=True)
        learned = [part for layer in self.layers for part in layer]
        self.optimiser = torch.optim.Adam([*learned, self.high, self.low], 1e-3)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of (change, reward); x is (members, batch, inputs) or for all."""
        for place, (weight, bias) in enumerate(self.layers):
            x = x @ weight + bias
            if place < len(self.layers) - 1:
                x = x * torch.sigmoid(x)
        mean, log_var = x.chunk(2, dim=-1)
        log_var = self.high - F.softplus(self.high - log_var)
        return mean, self.low + F.softplus(log_var - self.low)

    def step(self, inputs: Tensor, targets: Tensor) -> float:
        mean, log_var = self.predict(inputs)
        loss = ((mean - targets) ** 2 * torch.exp(-log_var) + log_var).mean(dim=(1, 2)).sum()
        loss = loss + BOUND_COEF * (self.high.sum() - self.low.sum())
        decays = DECAY[: len(self.layers) - 1] + DECAY[-1:]
        for decay, (weight, _) in zip(decays, self.layers, strict=True):
            loss = loss + 0.5 * decay * (weight**2).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()


def fit_pass(ensemble: Ensemble, data: tuple[np.ndarray, np.ndarray], sizes: Sizes) -> None:
    """A pass over bootstraps of `steps` batches: gathered first, then a step a batch."""
    count = sizes.steps * sizes.batch
    drawn = np.random.randint(sizes.rows, size=(sizes.members, count))
    inputs, targets = (torch.as_tensor(column[drawn]) for column in data)
    for start in range(0, count, sizes.batch):
        rows = slice(start, start + sizes.batch)
        ensemble.step(inputs[:, rows], targets[:, rows])


@torch.no_grad()
def imagine(ensemble: Ensemble, agent: Sac, obs: np.ndarray, sizes: Sizes) -> dict:
    """Rollouts of the whole length, through NumPy at every step; an elite is drawn for each row."""
    kept: dict[str, list[np.ndarray]] = {"obs": [], "action": [], "reward": [], "next_obs": []}
    for _ in range(sizes.length):
        action = agent.act(torch.as_tensor(obs))[0].numpy()
        inputs = torch.as_tensor(np.concatenate([obs, action], -1))
        mean, log_var = (part.numpy() for part in ensemble.predict(inputs))
        std = np.sqrt(np.exp(log_var))
        samples = (mean + np.random.normal(size=mean.shape) * std).astype(np.float32)
        elite = np.random.randint(sizes.elites, size=len(obs))
        outcome = samples[elite, np.arange(len(obs))]
        penalty = np.linalg.norm(std, axis=2).max(axis=0)
        # Untrained models move far; all libraries are to compute with numbers of the usual size.
        next_obs = np.clip(obs + outcome[:, :-1], -10.0, 10.0)
        reward = outcome[:, -1] - PENALTY_COEF * penalty
        for name, column in zip(kept, (obs, action, reward, next_obs), strict=True):
            kept[name].append(column)
        obs = next_obs
    return {name: np.concatenate(columns) for name, columns in kept.items()}


def sac_updates(agent: Sac, rows: dict[str, np.ndarray], sizes: Sizes) -> Callable[[], None]:
    columns = (rows["obs"], rows["action"], rows["reward"][:, None], rows["next_obs"])

    def update() -> None:
        for _ in range(sizes.updates // 5):
            drawn = np.random.randint(sizes.rows, size=sizes.batch)
            agent.update(*(torch.as_tensor(column[drawn]) for column in columns))

    return update


def operations(sizes: Sizes, threads: int) -> tuple[list[Operation], str]:
    """What is timed here, and the version of PyTorch."""
    torch.set_num_threads(threads)
    rows, agent, ensemble = made_rows(sizes), Sac(sizes), Ensemble(sizes)
    change = rows["next_obs"] - rows["obs"]
    inputs = np.concatenate([rows["obs"], rows["action"]], -1)
    targets = np.concatenate([change, rows["reward"][:, None]], -1)
    starts = rows["obs"][: sizes.starts]
    made = sizes.length * len(starts) / 10_000
    return [
        Operation(
            UPDATE,
            WHO,
            "draws from NumPy arrays, an optimiser for each network",
            sizes.updates // 5,
            sac_updates(agent, rows, sizes),
        ),
        Operation(
            STEP,
            WHO,
            "gathers the rows of a pass first, then a step a batch",
            sizes.steps,
            lambda: fit_pass(ensemble, (inputs, targets), sizes),
        ),
        Operation(
            ROLLOUTS,
            WHO,
            "policy, all members, penalty; through NumPy at every step",
            made,
            lambda: imagine(ensemble, agent, starts, sizes),
        ),
    ], f"torch {torch.__version__}"
