"""Do two commits compute the same bits? `python tests/same_bits.py BEFORE [AFTER] [--backend B]`.

Trains, checks and fits many nets with the package of each commit (AFTER: the working tree), in a
process each, by public names only, and compares a digest of every parameter, loss and report.
Exit code 1 where one differs. For changes that must change nothing: not part of the suite.
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import warnings

HERE = pathlib.Path(__file__).resolve().parent.parent
OUTPUTS = {"softmax": 3, "sigmoid": 2, "identity": 2, "exp": 2}


def digest(*arrays):
    import numpy as np

    total = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        total.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()[:16]


def cases(backend):
    """Every case: a name, and the digest of what it computes."""
    import numpy as np

    import xpnet

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(230, 12))
    labels = rng.integers(0, 3, 230)
    targets = {
        "softmax": labels,
        "sigmoid": (rng.random((230, 2)) > 0.5).astype(float),
        "identity": rng.normal(size=(230, 2)),
        "exp": rng.poisson(2.0, (230, 2)).astype(float),
    }
    weights = rng.random(230)

    def net_of(sizes=(9,), output="softmax", dtype="float32", **options):
        return xpnet.MLP(
            [12, *sizes, OUTPUTS[output]], output=output, xp=backend, dtype=dtype, seed=0, **options
        )

    def data(net):
        here = net.placement
        t = targets[net.output.name]
        return here.floats(rows), here.asarray(t) if t.ndim == 1 else here.floats(t)

    def bits(net, *more):
        to_host = net.placement.to_host
        return digest(*(to_host(net.params[key]) for key in sorted(net.params)), *more)

    def trained(net, steps=130, batch_size=20, **options):
        x, t = options.pop("data", None) or data(net)
        history = xpnet.fit(net, x, t, steps=steps, batch_size=batch_size, **options)
        looks = [history.validation_steps, history.validation_loss]
        return bits(net, history.loss, *map(np.asarray, looks))

    for dtype in ("float32", "float64"):
        for activation in ("sigmoid", "relu", "tanh", "identity"):
            for sizes in ((), (9,), (9, 7), (8, 1, 6)):
                net = net_of(sizes, dtype=dtype, activation=activation)
                yield f"train {sizes} {activation} {dtype}", trained(net)
        for output in OUTPUTS:
            for l2 in (0.0, 0.01):
                net = net_of((9, 7), output, dtype, l2=l2)
                yield f"train {output} l2={l2} {dtype}", trained(net, learning_rate=0.01)
        for optimizer in ("sgd", "momentum", "nesterov", "adam", "adamw"):
            net = net_of((9,), dtype=dtype)
            yield f"train {optimizer} {dtype}", trained(net, optimizer=optimizer)
        for rate in (0.3, 0.5):
            net = net_of((9, 7), dtype=dtype, activation="tanh", l2=0.001)
            yield f"train dropout={rate} {dtype}", trained(net, dropout=rate)
        net = net_of((9, 7), dtype=dtype, activation="relu")
        given = net.placement.floats(weights)
        yield f"train weights {dtype}", trained(net, sample_weight=given, dropout=0.3)
        for activation in ("sigmoid", "relu"):
            net = net_of((6, 5), dtype=dtype, activation=activation, l2=0.01)
            yield f"train numerical {activation} {dtype}", trained(net, 30, gradient="numerical")
        net = net_of((9,), dtype=dtype)
        yield f"train whole {dtype}", trained(net, 50, validation=data(net), shuffle=False)
        schedule = xpnet.optimizers.Cosine(0.1, 60)
        yield f"train schedule {dtype}", trained(net_of(dtype=dtype), 60, learning_rate=schedule)
        with tempfile.TemporaryDirectory() as folder:
            name = f"{folder}/x.npy"
            np.save(name, rows.astype(dtype))
            mapped = np.load(name, mmap_mode="r"), labels
            yield f"train mapped {dtype}", trained(net_of(dtype=dtype), data=mapped, dropout=0.2)
            kept = f"{folder}/kept"
            trained(net_of(dtype=dtype), 60, optimizer="adam", checkpoint=kept, dropout=0.3)
            again = net_of(dtype=dtype)
            yield f"resume {dtype}", trained(
                again, 90, optimizer="adam", checkpoint=kept, resume=True, dropout=0.3
            )
            again.save(f"{folder}/net.safetensors")
            yield f"load {dtype}", bits(xpnet.load(f"{folder}/net.safetensors", xp=backend))

        for activation in ("sigmoid", "relu", "tanh"):
            for output in OUTPUTS:
                for sizes in ((), (7,), (7, 5), (6, 5, 4)):
                    net = net_of(sizes, output, dtype, activation=activation, l2=0.01)
                    x, t = (a[:20] for a in data(net))
                    to_host = net.placement.to_host
                    found = [net.predict(x), net.loss(x, t), *net.gradient(x, t).values()]
                    found += net.numerical_gradient(x, t).values()
                    found += net.numerical_gradient(x, t, step=1e-3).values()
                    report = net.check_gradient(x, t)
                    wrong = {k: 1.5 * g for k, g in net.gradient(x, t).items()}
                    other = net.check_gradient(x, t, gradient=wrong)
                    both = (*report.values.values(), *other.values.values())
                    values = [value for part in both for value in part]
                    yield (
                        f"gradients {activation} {output} {sizes} {dtype}",
                        digest(*map(to_host, found), *values) + f" {report.verdict} {other}"[:400],
                    )
        x = net_of(dtype=dtype).placement.floats(rows[:3, :4])
        xp = net_of(dtype=dtype).placement.xp
        for directions in (None, 2):
            report = xpnet.check_gradient(
                lambda x, xp=xp: xp.sum(xp.sin(x) * x**3), xp.cos(x) * x**3, x,
                directions=directions,
            )  # fmt: skip
            yield f"check {directions} {dtype}", str(report)

    try:
        from xpnet.sklearn import MLPClassifier, MLPRegressor
    except ImportError:
        return
    where = {} if backend == "numpy" else {"xp": backend}
    warnings.simplefilter("ignore")
    for options in (
        {}, {"solver": "sgd", "learning_rate": "adaptive"}, {"solver": "lbfgs"},
        {"early_stopping": True}, {"solver": "sgd", "learning_rate": "invscaling", "dropout": 0.3},
    ):  # fmt: skip
        for kind, y in (
            (MLPClassifier, labels), (MLPClassifier, labels > 0),
            (MLPRegressor, targets["identity"]),
        ):  # fmt: skip
            model = kind(
                hidden_layer_sizes=(8, 6), max_iter=12, random_state=0, **options, **where
            ).fit(rows, y, weights)
            name = f"{kind.__name__} {options} {np.ndim(y)} {np.asarray(y).dtype}"
            curve = getattr(model, "loss_curve_", [model.loss_])
            yield name, digest(*model.coefs_, *model.intercepts_, np.asarray(curve))
            if options.get("solver") != "lbfgs" and not options.get("early_stopping"):
                model.partial_fit(rows[:50], y[:50])
                yield f"{name} partial", digest(*model.coefs_, *model.intercepts_)


def asked(source, backend):
    """What the package in a folder computes, by the names of the cases."""
    environment = {
        **os.environ, "PYTHONPATH": str(source), "JAX_ENABLE_X64": "1", "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    program = [sys.executable, __file__, "--as-asked", backend]
    done = subprocess.run(program, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def unpacked(commit, folder):
    """The source folder of a commit, written into a folder."""
    command = ["git", "archive", commit, "src"]
    archive = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        file.extractall(folder, filter="data")
    return pathlib.Path(folder, "src")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("before", help="a commit")
    parser.add_argument("after", nargs="?", help="a commit; default: the working tree")
    parser.add_argument("--backend", action="append", help="numpy, torch, jax; default: all three")
    options = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        before = unpacked(options.before, one)
        after = unpacked(options.after, other) if options.after else HERE / "src"
        for backend in options.backend or ("numpy", "torch", "jax"):
            was, now = asked(before, backend), asked(after, backend)
            wrong = [name for name in {**was, **now} if was.get(name) != now.get(name)]
            print(f"{backend}: {len(was) - len(wrong)} of {len(was)} cases have the same bits")
            for name in wrong:
                print(f"  {name}: {was.get(name)} before, {now.get(name)} now")
            different += len(wrong)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    if "--as-asked" in sys.argv:
        print(json.dumps(dict(cases(sys.argv[-1]))))
    else:
        main()
