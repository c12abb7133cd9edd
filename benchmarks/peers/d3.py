"""d3rlpy: SAC.update, with a batch from its own replay buffer."""

import sys

import d3rlpy
import numpy as np
import structlog
import torch
from work import UPDATE, Operation, Sizes, made_rows

# Rows of an episode; d3rlpy keeps its data by episodes.
EPISODE = 1000


def operations(sizes: Sizes, threads: int) -> tuple[list[Operation], str]:
    """What is timed here, and the version of the library."""
    torch.set_num_threads(threads)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    rows = made_rows(sizes)
    ends = (np.arange(1, sizes.rows + 1) % min(EPISODE, sizes.rows) == 0).astype(np.float32)
    log = d3rlpy.dataset.MDPDataset(
        rows["obs"], rows["action"], rows["reward"][:, None], np.zeros_like(ends), ends
    )
    encoder = d3rlpy.models.encoders.VectorEncoderFactory(list(sizes.hidden))
    agent = d3rlpy.algos.SACConfig(
        batch_size=sizes.batch, actor_encoder_factory=encoder, critic_encoder_factory=encoder
    ).create(device=False)
    agent.build_with_dataset(log)

    def update() -> None:
        for _ in range(sizes.updates // 5):
            agent.update(log.sample_transition_batch(sizes.batch))

    includes = "draws from its replay buffer, one Python call an update"
    operation = Operation(UPDATE, "d3rlpy SAC", includes, sizes.updates // 5, update)
    return [operation], d3rlpy.__version__
