"""fit.py LOG SEED NAME STEPS [field=value ...]: fits an ensemble, saves it every 2000 steps."""
from common import *
import math
log, seed, name, steps = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
extra = {k: eval(v) for k, v in (a.split("=",1) for a in sys.argv[5:])}
every = extra.pop("every", 20000)
t0=time.time()
s = setup_of(log, seed)
config = dataclasses.replace(s.config.model, **extra)
off, held = hold_out_episodes(s)
on = moore.replay.buffer.empty_replay(1, *s.learner.dims, max_holdout=1)
key = jax.random.key(1000+seed)
key, k0, k1, k2 = jax.random.split(key, 4)
model = init_model(k0, *s.learner.dims, config)
share = jnp.asarray(0.0, jnp.float32)
size = int(off.train_size)
fit = F.begin_fit(model, off, on, share, k1, off.capacity)
print("prepared", round(time.time()-t0,1), "rows", size, flush=True)
done=p=0; t0=time.time(); nxt=every
while done<steps:
    n=min(math.ceil(size/config.batch_size), steps-done)
    fit, improved, error = F.train_pass(fit, off, on, share, size, n, config, (done/steps, (done+n)/steps))
    done+=n; p+=1
    err=np.asarray(error)
    print(done, "holdout", np.round(err.mean(),5), "best", np.round(np.asarray(fit.best_error).mean(),5), bool(improved), round(time.time()-t0,1), flush=True)
    if done>=nxt or done>=steps:
        m, ok = F._finish(fit, off, on, share, config)
        save(M+f"{log}-{seed}-{name}-{done//1000}k.pkl", (m, time.time()-t0, done))
        nxt+=every
    fit = F._shuffle(fit, size, jax.random.fold_in(k2, p))
save(M+f"{log}-{seed}-{name}.pkl", (m, time.time()-t0, done))
