import dataclasses, json, multiprocessing as mp, os, subprocess, sys, tarfile, time
from pathlib import Path
T0 = time.time(); LIMIT = float(os.environ.get("LIMIT", 212)); SMALL = bool(os.environ.get("SMALL"))
ROOT = Path(__file__).resolve().parent; sys.path[:0] = [str(ROOT), str(ROOT / "examples")]
OUT = Path(os.environ["OUT"]); WORK = Path("/tmp/babyai_train"); DEMOS = WORK / "demos.xz"
def log(*a):
    line = f"{time.time() - T0:6.1f} " + " ".join(map(str, a)); print(line, flush=True)
    with open(OUT / "log.txt", "a") as f: f.write(line + "\n")
def spec(name):  # kind-hidden-layers-heads-steps-batch-seed
    kind, h, l, heads, steps, batch, seed = name.split("-")
    return kind, dict(hidden=int(h), layers=int(l), heads=int(heads), steps=int(steps), batch_size=int(batch), seed=int(seed))
def train_one(name, device):
    import train_actor as t
    kind, fields = spec(name)
    rec = t.train(dataclasses.replace(t.RECIPES["babyai"]["tiny"], **fields), WORK / name, family="babyai", demonstrations=DEMOS, device=device)
    return {"name": name, "parameters": rec["parameters"], "loss": rec["loss"][-3:], "seconds": rec["seconds"]}
def step_time(fields, device="cpu"):
    """Seconds per optimiser step."""
    n = 6 if device == "cpu" else 60
    import train_actor as t
    base = dataclasses.replace(t.RECIPES["babyai"]["tiny"], **fields)
    out = []
    for steps in (2, 2 + n):
        t1 = time.time(); t.train(dataclasses.replace(base, steps=steps), WORK / f"calibrate{os.getpid()}", family="babyai", demonstrations=WORK / "part.xz", device=device); out.append(time.time() - t1)
    return max(1e-3, (out[1] - out[0]) / n)
def job(args, device="cpu"):
    name, until = args
    kind, fields = spec(name)
    if fields["steps"] == 0:
        each = step_time({**fields, "steps": 1}, device)
        fields["steps"] = min(15000, max(20, int(max(10.0, until - (time.time() - T0) - 22) / each / 1.08)))
        name = "-".join([kind, *map(str, (fields["hidden"], fields["layers"], fields["heads"], fields["steps"], fields["batch_size"], fields["seed"]))])
    return train_one(name, device)
def gpu_jobs(names, queue):
    for name, until in names:
        try: queue.put(("trained", job((name, until), "cuda")))
        except Exception as e:
            queue.put(("failed", {"name": name, "error": repr(e)[:300]}))
            kind, fields = spec(name); fields["steps"] = 0
            slow = "-".join([kind, *map(str, (fields["hidden"], fields["layers"], fields["heads"], 0, fields["batch_size"], fields["seed"]))])
            cpu_jobs([(slow, LIMIT - 45)], queue)
            return
    queue.put(("end", None))
def cpu_jobs(names, queue):
    for one in names:
        try: queue.put(("trained", job(one)))
        except Exception as e: queue.put(("failed", {"name": one[0], "error": repr(e)[:300]}))
    queue.put(("end", None))
def evaluate(name, queue):
    from selfreg_gym import EpisodeSpec, InterventionVectorEnv, run_episodes
    from selfreg_gym.agents.actors.lm import LM
    out = {}
    for limit in (30,):
        env = InterventionVectorEnv(24, "selfreg/BabyAI-v0", LM(WORK / name), [], task_kwargs={"split": "val", "max_steps": limit}, autoreset_mode="Disabled")
        won = {}
        for e in run_episodes(env, [EpisodeSpec(i, i, 0.0) for i in range(12 if SMALL else 150)]): won.setdefault(e.kind, []).append(e.success)
        out[limit] = {k: round(sum(v) / len(v), 3) for k, v in won.items()} | {"all": round(sum(map(sum, won.values())) / sum(map(len, won.values())), 3)}
    queue.put(("evaluated", {"name": name, "success": out}))
def main():
    WORK.mkdir(parents=True, exist_ok=True); OUT.mkdir(parents=True, exist_ok=True)
    import torch
    gpu = bool(os.environ.get("FORCE_GPU")) or torch.cuda.is_available() and not os.environ.get("NO_GPU")
    log("torch", torch.__version__, "cuda", gpu, "cpus", os.cpu_count())
    subprocess.run([sys.executable, "examples/demonstrations.py", "babyai", "--episodes", "250" if SMALL else "12000", "--jobs", "2" if SMALL else "7", "--out", str(DEMOS)], check=True, cwd=ROOT)
    import demonstrations as d
    d.write(WORK / "part.xz", d.read(DEMOS)[:1500])
    log("demonstrations", os.path.getsize(DEMOS))
    ctx = mp.get_context("spawn"); queue = ctx.Queue()
    if SMALL and gpu: plans = [(gpu_jobs, [("strong-96-2-3-0-8-1", 60)])]
    elif SMALL: plans = [(cpu_jobs, [("tiny-96-2-3-4-8-1", 0), ("tiny-96-2-3-0-8-1", 60)])]
    elif gpu:
        until = LIMIT - 48
        plans = [(gpu_jobs, [(f"tiny-96-2-3-{n}-32-1", until) for n in (400, 800, 1600)]),
                 (gpu_jobs, [("strong-96-3-3-0-32-1", until)]),
                 (gpu_jobs, [("strong-128-2-4-0-32-1", until)]),
                 (gpu_jobs, [("strong-128-3-4-0-32-1", until)]),
                 (cpu_jobs, [("tiny-96-2-3-0-32-2", LIMIT - 40)])]
    else:
        end = LIMIT - 45
        plans = [(cpu_jobs, [("tiny-96-2-3-0-32-1", 75), ("tiny-96-2-3-0-32-2", 85)]), (cpu_jobs, [("tiny-96-2-3-0-32-3", 110)]), (cpu_jobs, [("tiny-96-2-3-0-32-4", end)]),
                 (cpu_jobs, [("strong-96-3-3-0-32-1", end)]), (cpu_jobs, [("strong-128-2-4-0-32-1", end)]), (cpu_jobs, [("strong-128-3-4-0-16-1", end)]), (cpu_jobs, [("strong-96-2-3-0-16-5", end)])]
    running = [ctx.Process(target=f, args=(names, queue)) for f, names in plans]
    for p in running: p.start()
    ends, waiting, evaluating, trained, scores = 0, [], [], {}, {}
    while time.time() - T0 < LIMIT - 6:
        try: what, info = queue.get(timeout=1)
        except Exception: what = None
        if what == "trained": trained[info["name"]] = info; waiting.append(info["name"]); log(what, json.dumps(info))
        elif what == "evaluated": scores[info["name"]] = info["success"]; log(what, json.dumps(info))
        elif what == "failed": log(what, json.dumps(info))
        elif what == "end": ends += 1
        evaluating = [p for p in evaluating if p.is_alive()]
        while waiting and len(evaluating) + len(plans) - ends < 7:
            p = ctx.Process(target=evaluate, args=(waiting.pop(0), queue)); p.start(); evaluating.append(p)
        if ends == len(plans) and not waiting and not evaluating and queue.empty(): break
    for p in running + evaluating:
        if p.is_alive(): p.kill()
    log("packing", list(trained))
    def rank(name):
        kind = spec(name)[0]; s = scores.get(name, {}).get(30, {}).get("all")
        return (s is None, -s if s is not None and kind == "strong" else abs((s or 0) - 0.45))
    keep = sorted([n for n in trained if n.startswith("tiny")], key=rank)[:4] + sorted([n for n in trained if n.startswith("strong")], key=rank)[:2]
    size = 0
    with tarfile.open(OUT / "babyai_checkpoints.tar.gz", "w:gz", compresslevel=3) as tar:
        for name in sorted(keep, key=lambda n: (rank(n), n)):
            here = sum(f.stat().st_size for f in (WORK / name).iterdir())
            if size + here > 8_000_000: log("left out", name); continue
            size += here; tar.add(WORK / name, arcname=name)
    log("done", size)
if __name__ == "__main__": main()
