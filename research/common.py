"""Shared by the experiments: log, learner units, models on disk, evaluation."""
import os, sys, time, dataclasses, json, pickle
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "/tmp/research-xla")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
import jax, jax.numpy as jnp, numpy as np, equinox as eqx
import moore
from moore.runs.setup import prepare, Evaluator
from moore.dynamics.fit import *
from moore.dynamics import fit as F
D=os.environ.get("D4RL_DATASET_DIR", ".") + "/"
LOGS={"hm":("laptop/hopper-medium",D+"hopper-medium.hdf5"),
      "cme":("laptop/halfcheetah-medium-expert",D+"halfcheetah-medium.hdf5,"+D+"halfcheetah-expert.hdf5")}
M="research-models/"

def setup_of(log, seed, algorithm="moore_robust"):
    preset, files = LOGS[log]
    c = moore.preset(preset, algorithm=algorithm)
    c = dataclasses.replace(c, dataset=files, seed=seed)
    return prepare(c, fresh=False)

def hold_out_episodes(setup, share=0.05, seed=0):
    """Replay whose holdout is whole episodes; and the rows where they begin and end."""
    data = setup.dataset
    ends = np.flatnonzero(data.terminated | data.truncated)
    first = np.append(0, ends[:-1]+1)
    if ends[-1] != data.size-1: pass
    rng = np.random.default_rng(seed)
    n = max(int(share*len(ends)), 4)
    chosen = rng.choice(len(ends), n, replace=False)
    held = np.zeros(data.size, bool)
    for e in chosen: held[first[e]:ends[e]+1] = True
    known = np.asarray(data.successor_known)
    off = setup.learner.offline
    tr = np.flatnonzero(known & ~held); ho = np.flatnonzero(known & held)
    ho_s = rng.permutation(ho)[:2000]
    train_rows = np.zeros(off.capacity, np.int32); train_rows[:len(tr)] = rng.permutation(tr)
    from moore.replay.buffer import Replay
    off2 = Replay(off.data, off.size, jnp.asarray(train_rows), jnp.asarray(len(tr),jnp.int32),
                  jnp.asarray(ho_s, jnp.int32), jnp.asarray(len(ho_s), jnp.int32))
    return off2, held

def save(path, tree):
    with open(path, "wb") as f: pickle.dump(jax.device_get(tree), f)
def load(path):
    with open(path, "rb") as f: return jax.tree.map(jnp.asarray, pickle.load(f))
