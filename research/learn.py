"""learn.py LOG SEED NAME MODEL [option=value ...]: an offline stage; prints the newest return an epoch."""
from common import *
import optax
from functools import partial
from dataclasses import dataclass
from moore.agents import sac
from moore.agents.sac import *
from moore.agents.nets import *
from moore.agents.lambda_returns import *
from moore.dynamics.imagine import rollout
from moore.dynamics.ensemble import predict_all
from moore.dynamics.penalty import *
from moore.dynamics.fit import inputs_and_targets
from moore.replay.buffer import Ring, push, take, Transition
from moore.replay.sampler import gather
from moore.replay.buffer import empty_replay
from moore.stages import programs
from moore.envs.collector import Collector
from moore.dynamics.open_loop import *

@dataclass(frozen=True)
class Opt:
    epochs: int = 10
    rounds: int = 4          # imagine this often an epoch
    updates: int = 250       # updates a round
    starts: int = 250
    length: int = 100
    kept: int = 4            # rounds kept
    trace: float = 0.95
    penalty: float = 2.0
    u_members: int = 7
    u: str = "value"         # or "spread": penalty on disagreement of means
    halt: float = 1.0        # quantile of the disagreement on real rows; >1: never
    one_member: bool = True
    two: bool = True
    hv: float = 0.05         # a halted rollout is worth at most this quantile of the values of real rows; 0: its value
    ahead: int = 0           # actor: so many differentiable steps of the models, then the critics; 0: SAC
    excess: float = 0.9      # the penalty is on u beyond this quantile of u on real rows; 0: on all of u
    noise: bool = False
    real: float = 0.25       # share of real rows in a batch, one-step targets
    weigh: bool = False      # rows by 1/(1+u)
    actor_every: int = 2
    lr: float = 3e-4
    critics_first: int = 1   # epochs
    pull: str = "radius"     # none, td3bc, radius
    weight: float = 2.5      # td3bc: alpha
    radius: str = "0.05*e"   # rms action change allowed in epoch e after critics_first
    temp: float = 0.0        # start; 0: fixed at 0
    ent: float = -1.0        # per action
    clone: float = 0.1
    start: str = "clone"
    avg: float = 5e-3
    target_rate: float = 0.02
    critics: int = 2
    pessimism: str = "min"   # actor's value: min or mean
    log_std: float = -1.5
    gamma: float = 0.0       # 0: the log's
    batch: int = 256
    clr: float = 1e-3        # of the critics
    warm: int = 1000         # first updates of the critics, on the log's own returns
    unit: bool = True        # values in units of 1/(1-gamma) rewards
    online: int = 0
    from_log: bool = True    # rollouts start with the log's own step
    norm_q: bool = True
    bold: float = 1.5        # auto: u along rollouts over u on real rows that is allowed
    refit: int = 200         # steps of a refit, once in an online epoch
    on_share: float = 0.5    # of starts and real rows, online
    on_radius: str = "same"  # online: the last radius, or an expression of e
    hinge: float = 0.0       # price on a single state's change beyond twice the radius
    first_share: float = 0.0 # share of rollouts from first states

class Rows(eqx.Module):
    obs: jax.Array; action: jax.Array; target: jax.Array; weight: jax.Array
    @property
    def reward(self): return self.target

def clone_rows(setup, share):
    d = setup.dataset
    ends = np.flatnonzero(d.terminated | d.truncated); first = np.append(0, ends[:-1]+1)
    c = np.append(0, np.cumsum(d.reward, dtype=np.float64))
    ret = c[ends+1]-c[first]
    order = np.argsort(-ret); n = max(int(np.ceil(share*len(ends))),1)
    rows = np.concatenate([np.arange(first[e], ends[e]+1) for e in order[:n]])
    return rows, ret[order[:n]].mean(), n

def make_clone(setup, rows, key, hidden=(256,256), steps=5000, log_std=-1.5):
    off = setup.learner.offline
    rows = jnp.asarray(rows)
    actor = Actor(*setup.learner.dims, hidden, key=key)
    opt = optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    def loss(a, o, act):
        m, ls = a(o)
        return jnp.mean((jnp.tanh(m)-act)**2) + 0.01*jnp.mean((ls-log_std)**2)
    @jax.jit
    def run(actor, st, key):
        def step(c, k):
            a, st = c
            r = rows[jax.random.randint(k, (256,), 0, len(rows))]
            l, g = jax.value_and_grad(loss)(a, off.data.obs[r], off.data.action[r])
            up, st = opt.update(g, st); return (optax.apply_updates(a, up), st), l
        return jax.lax.scan(step, (actor, st), jax.random.split(key, steps))
    (actor, _), l = run(actor, opt.init(actor), jax.random.fold_in(key,1))
    return actor, float(l[-200:].mean())

class Learned(eqx.Module):
    sac: SACState
    clone: Actor
    log_pull: jax.Array
    pull_opt: object

def spread_scale(off):
    y = inputs_and_targets(off.data)[1]
    return jnp.maximum(jnp.std(y, axis=0), 1e-6)

DYN=["clr",'penalty', 'trace', 'weight', 'lr', 'avg', 'target_rate', 'log_std', 'ent']
def k_of(o, cfg): return (1.-cfg.discount) if o.unit else 1.
@partial(jax.jit, static_argnames=("o","cfg","terminated_fn","bound"))
def imagine_round(st, ens, off, on, rows, key, spread, scale, limit, v_, *, o, cfg, terminated_fn, bound):
    state = st.sac
    pol = sac.policy(state)
    k1,k2,k3,k4 = jax.random.split(key,4)
    k_ = k_of(o, cfg)
    real = gather(off, on, rows)
    starts = real.next_obs if o.from_log else real.obs
    members = jnp.arange(o.u_members)
    def u_value(obs, action, mean, std, k):
        mean = mean[:o.u_members]
        nxt = jnp.clip(obs + mean[...,1:], spread.mean-bound*spread.std, spread.mean+bound*spread.std)
        ends = jax.vmap(jax.vmap(terminated_fn), in_axes=(None,None,0))(obs, action, nxt) if False else jax.vmap(lambda n: jax.vmap(terminated_fn)(obs, action, n))(nxt)
        a = mode_action(pol, nxt)
        v = q_values(state.target_critics, nxt, a).min(axis=0)
        return value_spread(k_*mean[...,0], jnp.where(ends,0.,v), cfg.discount)
    def u_spread(obs, action, mean, std, k): return disagreement(mean, scale)
    if o.two:
        u_value_, u_spread_ = u_value, u_spread
        u_value = lambda *a: u_value_(*a)*jnp.sqrt(jnp.pi)
        u_spread = lambda *a: u_spread_(*a)*jnp.sqrt(jnp.pi)
    ufn = u_value if o.u=="value" else u_spread
    from moore.dynamics.ensemble import predict_two
    ri = jnp.concatenate([real.obs, real.action], -1)
    rm, rs = predict_two(ens, ri, jnp.asarray(1)) if o.two else predict_all(ens, ri)
    ur = ufn(real.obs, real.action, rm, rs, k4); u_real = jnp.mean(ur)
    usual = jnp.quantile(ur, o.excess) if o.excess else 0.
    ufn_ = ufn
    ufn = lambda *a: jnp.maximum(ufn_(*a)-usual, 0.)
    tr, happened, u = rollout(ens, lambda ob,k: sample_action(pol, ob, k)[0], terminated_fn, starts, k1,
        length=o.length, penalty_coef=v_["penalty"]/k_, obs_bound=bound, spread=spread, uncertainty_fn=ufn,
        one_member=o.one_member, two=o.two, noise=o.noise, doubt_fn=u_spread, doubt_limit=limit)
    tr = dataclasses.replace(tr, reward=k_*tr.reward)
    real = dataclasses.replace(real, reward=k_*real.reward)
    if o.from_log:
        tr = jax.tree.map(lambda a,b: jnp.concatenate([a[None],b]), real, tr)
        alive = ~real.terminated
        happened = jnp.concatenate([jnp.ones_like(happened[:1]), happened & alive])
        u = jnp.concatenate([jnp.zeros_like(u[:1]), u])
    temp = jnp.exp(state.log_temperature) if o.temp>0 else jnp.asarray(0.)
    nxt = look_ahead(pol, state.target_critics, temp, tr, k3)
    low = least_value(k_*state.worst_reward, cfg.discount)
    high = largest_value(k_*state.best_reward, temp, tr.action.shape[-1], cfg.discount)
    fol = follows(happened)
    halted = (happened & ~tr.terminated & ~fol).at[-1].set(False)
    if o.hv:
        vr = q_values(state.target_critics, real.obs, mode_action(pol, real.obs)).min(0)
        nxt = NextState(jnp.where(halted, jnp.minimum(nxt.value, jnp.quantile(vr, o.hv)), nxt.value), nxt.entropy_bonus)
    g = lambda_returns(tr.reward, tr.terminated, fol, nxt, discount=cfg.discount, trace=v_["trace"], low=low, high=high)
    w = 1/(1+u) if o.weigh else jnp.ones_like(u)
    flat = jax.tree.map(lambda x: x.reshape(-1,*x.shape[2:]), Rows(tr.obs, tr.action, g, w))
    m = {"halted": halted.sum()/rows.shape[0], "ended": (tr.terminated&happened).sum()/rows.shape[0], "u_real": u_real, "usual": usual, "steps": happened.sum()/rows.shape[0], "u": jnp.where(happened,u,0).sum()/happened.sum(), "u_end": jnp.quantile(u, .9),
         "term": (tr.terminated&happened).sum()/happened.sum(), "g": jnp.where(happened,g,0).sum()/happened.sum(),
         "g0": g[0].mean(), "gmax": jnp.where(happened,g,-1e9).max(), "high":high, "r": jnp.where(happened,tr.reward+v_["penalty"]*u,0).sum()/happened.sum()}
    return flat, happened.reshape(-1), m

_push = jax.jit(push, donate_argnums=0)

def q_err(critics, obs, action, target, weight):
    e = q_values(critics, obs, action)-target
    return 0.5*jnp.mean(weight*e**2, axis=1).sum()

@partial(jax.jit, static_argnames=("o","cfg","act","terminated_fn"), donate_argnames=("st",))
def train_round(st, ens, spread, ring, off, on, rows, key, radius, v_, *, o, cfg, act, terminated_fn):
    n_real = rows.shape[1]
    def step(st, inp):
        rws, k = inp
        k1,k2,k3,k4 = jax.random.split(k,4)
        s = st.sac
        temp = jnp.exp(s.log_temperature) if o.temp>0 else jnp.asarray(0.)
        pol = s.actor
        i = jax.random.randint(k1, (o.batch-n_real,), 0, ring.size)
        b = take(ring.data, i)
        obs, action, target, weight = b.obs, b.action, b.target, b.weight
        if n_real:
            k_=k_of(o,cfg); r = gather(off, on, rws); r = dataclasses.replace(r, reward=k_*r.reward)
            na, nl = sample_action(pol, r.next_obs, k2)
            v = q_values(s.target_critics, r.next_obs, na).min(axis=0) - temp*nl
            tg = bellman_target(r.reward, r.terminated.astype(jnp.float32), v, cfg.discount)
            tg = jnp.clip(tg, least_value(k_*s.worst_reward,cfg.discount), largest_value(k_*s.best_reward,temp,r.action.shape[-1],cfg.discount))
            obs=jnp.concatenate([obs,r.obs]); action=jnp.concatenate([action,r.action]); target=jnp.concatenate([target,tg]); weight=jnp.concatenate([weight,jnp.ones(n_real)])
        ql, qg = jax.value_and_grad(q_err)(s.critics, obs, action, target, weight)
        opt = optax.adam(v_["lr"])
        qs, copt = optax.adam(v_["clr"]).update(qg, s.critic_opt)
        critics = optax.apply_updates(s.critics, qs)
        def aloss(actor):
            mean, ls = actor(obs); eps=jax.random.normal(k3, mean.shape)
            pre = mean+jnp.exp(ls)*eps
            a = jnp.tanh(pre); logp = squashed_log_density(pre, mean, ls)
            qv = q_values(critics, obs, a)
            v = qv.min(axis=0) if o.pessimism=="min" else qv.mean(axis=0)
            if o.ahead:
                from moore.dynamics.ensemble import predict_two, predict, members_of, Networks
                n=ens.elites.shape[0]; m_ = obs.shape[0]//n*n
                x = obs[:m_]; total=jnp.zeros(m_); disc=1.; alive=jnp.ones(m_); act_=a[:m_]
                nets = Networks(*jax.tree.map(lambda z: z[ens.elites], members_of(ens.networks)), ens.networks.max_log_var, ens.networks.min_log_var, layer_norm=ens.networks.layer_norm)
                for j in range(o.ahead):
                    inp = jnp.concatenate([x, act_],-1).reshape(n,-1,x.shape[-1]+act_.shape[-1])
                    mu,_ = predict(nets, ens.normaliser, inp); mu = mu.reshape(m_,-1)
                    x2 = x+mu[:,1:]
                    total = total + disc*alive*k_of(o,cfg)*mu[:,0]
                    ends = jax.vmap(terminated_fn)(x, act_, x2)
                    alive = alive*(1-ends.astype(jnp.float32)); disc=disc*cfg.discount; x=x2
                    act_,_ = sample_action(actor, x, jax.random.fold_in(k4,j))
                qv = total + disc*alive*q_values(critics, x, act_)
                v = qv.min(axis=0) if o.pessimism=="min" else qv.mean(axis=0)
            cm, cl = st.clone(obs)
            dev2 = jnp.mean((jnp.tanh(mean)-jnp.tanh(cm))**2, axis=-1)
            std_pull = jnp.mean((ls-v_["log_std"])**2)
            if o.norm_q: scale = jax.lax.stop_gradient(jnp.abs(qv).mean())
            else: scale = 1.
            dev = jnp.mean(dev2)
            if o.pull=="td3bc": l = -v_["weight"]*jnp.mean(v)/scale + dev + 0.01*std_pull + temp*jnp.mean(logp)/scale
            elif o.pull=="radius": l = -jnp.mean(v)/scale + jnp.exp(st.log_pull)*dev + o.hinge*jnp.mean(jnp.maximum(dev2-4*radius**2,0.)) + 0.01*std_pull + temp*jnp.mean(logp)/scale
            else: l = jnp.mean(temp*logp - weight*v)
            return l, (-jnp.mean(logp), dev, jnp.mean(v), jnp.mean(jnp.exp(ls)))
        def learn(st):
            s = st.sac
            (l,(ent,dev,v,sd)), g = jax.value_and_grad(aloss, has_aux=True)(s.actor)
            up, aopt = opt.update(g, s.actor_opt)
            wanted = v_["ent"]*action.shape[-1]
            lt, topt = s.log_temperature, s.temperature_opt
            if o.temp>0:
                d, topt = opt.update(ent-wanted, topt); lt = lt+d
            s = dataclasses.replace(s, actor=optax.apply_updates(s.actor, up), actor_opt=aopt, log_temperature=lt, temperature_opt=topt)
            lp = jnp.clip(st.log_pull + 0.02*jnp.clip(dev/radius**2 - 1., -1., 1.), -6., 8.)
            return dataclasses.replace(st, sac=s, log_pull=lp), (ent,dev,v,sd)
        z=(jnp.nan,)*4
        if act:
            st2, aux = jax.lax.cond((s.updates+1)%o.actor_every==0, learn, lambda t:(t,tuple(jnp.asarray(x) for x in z)), st)
        else: st2, aux = st, tuple(jnp.asarray(x) for x in z)
        s2 = st2.sac
        s2 = dataclasses.replace(s2, critics=critics, critic_opt=copt, target_critics=optax.incremental_update(critics, s2.target_critics, v_["target_rate"]),
            averaged=optax.incremental_update(s2.actor, s2.averaged, v_["avg"]), updates=s2.updates+1)
        m = {"ql":ql,"ent":aux[0],"dev2":aux[1],"v":aux[2],"sd":aux[3],"temp":temp,"real_gap": (jnp.mean(q_values(critics,obs[-n_real:],action[-n_real:]).mean(0)-target[-n_real:]) if n_real else 0.)}
        return dataclasses.replace(st2, sac=s2), m
    keys = jax.random.split(key, rows.shape[0])
    st, m = jax.lax.scan(step, st, (rows, keys))
    return st, jax.tree.map(jnp.nanmean, m)

def log_returns(d, reward, gamma, k):
    """Discounted return from every row of the log on; where an episode was cut it goes on at its mean reward."""
    ends = np.flatnonzero(d.terminated | d.truncated)
    if len(ends)==0 or ends[-1]!=d.size-1: ends=np.append(ends, d.size-1)
    first = np.append(0, ends[:-1]+1); g=np.zeros(d.size)
    for a,b in zip(first, ends):
        r = reward[a:b+1]*k; last = 0. if d.terminated[b] else r.mean()/(1-gamma)
        for t in range(b, a-1, -1):
            last = reward[t]*k + gamma*last; g[t]=last
    return g.astype(np.float32)

@partial(jax.jit, static_argnames=("updates",))
def warm_critics(state, obs, action, returns, train, key, clr, *, updates):
    opt = optax.adam(clr)
    def step(c, k):
        critics, st = c
        r = train[jax.random.randint(k, (256,), 0, train.shape[0])]
        l, g = jax.value_and_grad(q_err)(critics, obs[r], action[r], returns[r], jnp.ones(256))
        up, st = opt.update(g, st); return (optax.apply_updates(critics, up), st), l
    (critics, st), l = jax.lax.scan(step, (state.critics, state.critic_opt), jax.random.split(key, updates))
    return dataclasses.replace(state, critics=critics, critic_opt=st, target_critics=jax.tree.map(jnp.copy, critics)), l[-50:].mean()

def make_system(s, seed):
    import inspect
    return Collector(s.world.make_env(), seed, s.units)

def model_look(st, m, off, on, L, scale):
    """Disagreement on the newest online rows, before they are learned from."""
    n=int(on.size)
    if not n: return {}
    rows = on.data; i = jnp.arange(max(n-1000,0), n)
    d = disagreement(predict_all(m.ensemble, inputs_and_targets(take(rows,i))[0])[0], scale)
    return {"doubt_online": round(float(d.mean()),4)}

def main():
    log, seed, model = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    s = setup_of(log, seed)
    s = dataclasses.replace(s, config=dataclasses.replace(s.config, evaluation=dataclasses.replace(s.config.evaluation, episodes=10)))
    ev = Evaluator(s)
    groups=[[]]
    for a in sys.argv[4:]:
        if a=="--": groups.append([])
        else: groups[-1].append(a)
    for g in groups: one(s, ev, log, seed, g[0], model, g[1:])
    ev.close()

def one(s, ev, log, seed, name, model, args):
    o = Opt(**{k: (v if k in ("pull","radius","on_radius","u","start","pessimism") else eval(v)) for k,v in (a.split("=",1) for a in args)})
    print("=====", name, args, flush=True)
    fixed = dataclasses.replace(o, radius="", epochs=0, halt=0., clone=0., online=0, warm=0, bold=0., refit=0, on_share=0., on_radius='', critics_first=0, rounds=0, **{d: getattr(Opt(), d) for d in DYN})
    v_ = {d: jnp.asarray(float(getattr(o, d))) for d in DYN}
    L = s.learner; cfg = L.config.sac
    if o.gamma: cfg = dataclasses.replace(cfg, discount=o.gamma)
    off = L.offline
    m, fit_s, fit_steps = load(M+model+".pkl"); ens = m.ensemble
    clock = {"imagine":0.,"update":0.,"eval":0.}
    key = jax.random.key(7000+seed); key, kc, ki = jax.random.split(key,3)
    rows, ret, n = clone_rows(s, o.clone)
    cp = M+f"clone-{log}-{seed}-{o.clone}.pkl"
    if not os.path.exists(cp):
        t=time.time(); c, l = make_clone(s, rows, kc); save(cp, c); print("clone", n, "episodes", round(ret), "loss", round(l,4), round(time.time()-t,1))
    clone = load(cp)
    state = sac.init(ki, *L.dims, dataclasses.replace(cfg, average_rate=o.avg, learning_rate=o.lr, critics=o.critics, layer_norm=True))
    if o.start=="clone":
        state = dataclasses.replace(state, actor=jax.tree.map(jnp.copy,clone), averaged=jax.tree.map(jnp.copy,clone), actor_opt=optax.adam(o.lr).init(clone))
    if o.temp>0: state = dataclasses.replace(state, log_temperature=jnp.log(jnp.asarray(o.temp)))
    state = sac.look(state, off, L.init(key).online, dataclasses.replace(cfg, clip_targets=.95, floor_targets=.05))
    if o.warm:
        k_ = k_of(o, cfg)
        G = log_returns(s.dataset, np.asarray(off.data.reward), cfg.discount, k_)
        state, l = warm_critics(state, off.data.obs, off.data.action, jnp.asarray(G), off.train_rows[:int(off.train_size)], jax.random.fold_in(key,3), jnp.asarray(o.clr), updates=o.warm)
        print("log returns", np.round(np.quantile(G,[.05,.5,.95]),3), "critics' error", float(l))
    unit_r = float(s.units.reward_in(1.0))
    st = Learned(state, clone, jnp.asarray(0.), jnp.zeros(()))
    scale = spread_scale(off)
    cap = o.kept*o.starts*(o.length+1)
    dz = L.dims
    ring = Ring(Rows(jnp.zeros((cap,dz[0])), jnp.zeros((cap,dz[1])), jnp.zeros(cap), jnp.zeros(cap)), jnp.zeros((),jnp.int32), jnp.zeros((),jnp.int32), jnp.asarray(cap,jnp.int32))
    # familiar: the disagreement on real rows
    key, kq = jax.random.split(key)
    train = np.asarray(off.train_rows[:int(off.train_size)])
    rng = np.random.default_rng(seed)
    some = jnp.asarray(rng.choice(train, 5000))
    d = disagreement(predict_all(ens, inputs_and_targets(take(off.data, some))[0])[0], scale)
    limit = jnp.quantile(d, min(o.halt,1.0)) if o.halt<=1 else jnp.asarray(jnp.inf)
    print("disagreement on real rows", np.round(np.asarray(jnp.quantile(d, jnp.asarray([.5,.9,.99,1.]))),4), "limit", float(limit))
    first = L.first_states
    def evaluate(p):
        t=time.time(); r = ev.deterministic(p); clock["eval"]+=time.time()-t; return r
    r0 = evaluate(clone); print("clone earns", round(r0.mean_return), "steps", np.mean(r0.lengths), "clone rows earned", round(ret), n, flush=True)
    n_real = int(o.real*o.batch); out=[]; earned=[]
    on = empty_replay(25_000, *L.dims, max_holdout=1000)
    system = None
    d_ = s.dataset
    starts_ = np.append(0, np.flatnonzero(d_.terminated|d_.truncated)[:-1]+1)
    early = np.unique(np.concatenate([starts_+t for t in range(20)])); early = early[early<d_.size]
    early = np.intersect1d(early, train)
    def draw(shape, online):
        rows = rng.choice(train, shape)
        if o.first_share: rows = np.where(rng.random(shape) < o.first_share, rng.choice(early, shape), rows)
        n_on = int(on.size)
        if online and n_on:
            rows = np.where(rng.random(shape) < o.on_share, off.capacity + rng.integers(0, n_on, shape), rows)
        return jnp.asarray(rows, jnp.int32)
    best = None
    for epoch in range(1, o.epochs+o.online+1):
        acts = epoch > o.critics_first
        auto = o.radius=="auto"
        if auto:
            if epoch==1: radius, ratios = 0.05, []
        else: radius = float(eval(o.radius, {"e": epoch-o.critics_first})) if o.pull=="radius" else 1.
        t0=time.time()
        online = epoch > o.epochs
        if online and o.on_radius!="same": radius = float(eval(o.on_radius, {"e": epoch-o.epochs}))
        elif online and not auto: radius = float(eval(o.radius, {"e": o.epochs-o.critics_first})) if o.pull=="radius" else 1.
        if online:
            t=time.time()
            if system is None:
                system = Collector(s.world.make_env(), seed, s.units) if False else make_system(s, seed)
            before = model_look(st, m, off, on, L, scale)
            pol = sac.policy(st.sac)
            for _ in range(1000):
                key, ks = jax.random.split(key)
                a, _ = programs.act(pol, system.observation(), ks, L.algorithm.agent)
                on, _ = programs.observe(on, system.step(np.asarray(a)), ks, 0.1)
            earned.append([round(x) for x in system.take_episode_returns()])
            clock["act"]=clock.get("act",0)+time.time()-t; t=time.time()
            if o.refit:
                key, kf = jax.random.split(key)
                mc = dataclasses.replace(L.config.model, layer_norm=m.ensemble.networks.layer_norm, members=m.ensemble.networks.mean_head.bias.shape[0], elites=m.ensemble.elites.shape[0], learning_rate=3e-4)
                m, rep = F.fit_ensemble(m, off, on, jnp.asarray(o.on_share), kf, mc, keep_normaliser=True, max_steps=o.refit)
                ens = m.ensemble
            clock["refit"]=clock.get("refit",0)+time.time()-t
            print("  acted", earned[-1], before, flush=True)
        for _ in range(o.rounds):
            key, ka, kb, kr = jax.random.split(key,4)
            rws = draw(o.starts, online)
            t=time.time()
            flat, keep, im = imagine_round(st, ens, off, on, rws, ka, L.spread, scale, limit, v_, o=fixed, cfg=cfg, terminated_fn=L.terminated_fn, bound=s.config.imagined_bound)
            ratio = float(im["u"]/im["u_real"])
            if auto and acts: radius = radius*1.1 if ratio <= o.bold else max(radius/1.2, 0.02)
            ring = _push(ring, flat, keep); jax.block_until_ready(ring.size); clock["imagine"]+=time.time()-t
            t=time.time()
            rr = draw((o.updates, n_real), online)
            st, mm = train_round(st, ens, L.spread, ring, off, on, rr, kb, jnp.asarray(radius), v_, o=fixed, cfg=cfg, act=acts, terminated_fn=L.terminated_fn)
            jax.block_until_ready(mm); clock["update"]+=time.time()-t
        pol = sac.policy(st.sac)
        r = evaluate(pol)
        q0 = float(q_values(st.sac.target_critics, first, mode_action(pol, first)).min(0).mean())
        real0 = float(np.mean(r.discounted))*unit_r*k_of(o,cfg)
        mm = {k: round(float(v),3) for k,v in (im|mm).items()}
        out.append(round(r.mean_return))
        print(epoch, round(r.mean_return), "len", round(np.mean(r.lengths)), "radius", round(radius,3), "pull", round(float(jnp.exp(st.log_pull)),2), "q0", round(q0,3), "real", round(real0,3), mm, f"{time.time()-t0:.1f}s", {a: round(b) for a,b in clock.items()}, "cpu", round(time.process_time()), flush=True)
    with open("results.csv","a") as f:
        f.write(f"{log},{seed},{name},{model},{' '.join(args)},{round(r0.mean_return)},{' '.join(map(str,out))},{str(earned).replace(',',' ')},{clock['imagine']:.0f},{clock['update']:.0f},{clock['eval']:.0f},{fit_s:.0f}\n")
    print(clock)
    save(M+f"state-{log}-{seed}-{name}.pkl", st)
if __name__=="__main__": main()
