"""open.py LOG SEED MODEL...: open-loop errors on held-out episodes."""
from common import *
from moore.dynamics.open_loop import *
log, seed = sys.argv[1], int(sys.argv[2])
s = setup_of(log, seed); off, held = hold_out_episodes(s)
d = s.dataset
from moore.stages.diagnostics import logged_spread
spread = s.learner.spread
st = stretch_starts(np.asarray(d.terminated|d.truncated), held & np.asarray(d.successor_known), 100)
st = np.random.default_rng(0).choice(st, min(len(st),256), replace=False)
f = jax.jit(open_loop_errors, static_argnames=("one_member","noise"))
for m in sys.argv[3:]:
    model, fs, n = load(M+m+".pkl")
    for one, noise in ((True,False),(True,True),(False,True)):
        r = f(model.ensemble, off.data, jnp.asarray(st), jax.random.key(0), spread=spread, one_member=one, noise=noise)
        r = {k: round(float(v),4) for k,v in r.items()}
        print(log, m, n, "one" if one else "switch", "noise" if noise else "mean", r, flush=True)
        open("open.csv","a").write(f"{log},{seed},{m},{n},{one},{noise},"+",".join(str(v) for v in r.values())+"\n")
