"""Finding backends, placing arrays, and saying why not."""

import itertools
import json
import sys
import types

import numpy as np
import pytest

import xpnet
from xpnet import backend
from xpnet.backend import BACKENDS, BackendNotAvailable


def test_placement_round_trip(lib):
    """Values, dtype and device survive the way there and back."""
    host = np.asarray([[1.5, -2.0], [0.0, 3.25]], dtype=np.float32)
    here = lib.place("float32")
    there = here.floats(host)
    here._check(there, "x")
    assert here.dtype_name == "float32"
    assert here.to_host(there).dtype == np.float32
    np.testing.assert_array_equal(here.to_host(there), host)
    here.synchronize()
    assert lib.kwargs["xp"] in here.describe()


def test_module_and_name_mean_the_same(lib):
    """`xp=cupy` and `xp="cupy"`: the module, its compat twin, the name."""
    name = lib.kwargs["xp"]
    plain = {"jax": "jax.numpy"}.get(name, name)
    for given in (name, __import__(plain, fromlist=["x"]), lib.xp):
        here = xpnet.place(given, lib.kwargs["device"])
        assert here.xp is lib.xp
        assert here.dtype == lib.xp.float32, "float32 is the default everywhere"


def test_dtype_by_name_or_object(lib):
    for dtype in ("float64", lib.xp.float64, np.float64, np.dtype("float64")):
        assert lib.place(dtype).dtype == lib.xp.float64


def test_unknown_words_list_the_known():
    with pytest.raises(ValueError, match=r"unknown backend 'tensorflow'; known are 'numpy', "):
        xpnet.place("tensorflow")
    with pytest.raises(ValueError, match="unknown backend 'json'"):
        xpnet.place(json)
    with pytest.raises(TypeError, match="xp must be a module or a name, not int"):
        xpnet.place(3)
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', not 'int8'"):
        xpnet.place(dtype="int8")
    with pytest.raises(ValueError, match="device must be 'cpu' or None for numpy, not 'cuda'"):
        xpnet.place(device="cuda")


def test_no_such_device(lib):
    """A device that is not there is said in the library's own words."""
    if lib.kwargs["xp"] in ("numpy", "cupy"):
        pytest.skip("its device is chosen by name, which another test checks")
    with pytest.raises((BackendNotAvailable, ValueError), match=r"\w"):
        xpnet.place(lib.kwargs["xp"], "no-such-device")


@pytest.mark.parametrize("name", BACKENDS)
def test_not_installed(monkeypatch, name):
    """The message has the line that installs it."""
    monkeypatch.setitem(sys.modules, BACKENDS[name].package, None)
    with pytest.raises(BackendNotAvailable, match=r"is not installed .* install it with: python"):
        xpnet.place(name)


class _NoDriver(types.ModuleType):
    """What CuPy looks like on a machine with no driver: it imports, and no array can be made."""

    class CUDARuntimeError(RuntimeError):
        pass

    def __getattr__(self, name):
        message = "cudaErrorInsufficientDriver: CUDA driver version is insufficient"

        def fail(*args, **kwargs):
            raise self.CUDARuntimeError(message)

        if name == "cuda":
            device = types.SimpleNamespace(getDeviceCount=fail, runtimeGetVersion=lambda: 12090)
            return types.SimpleNamespace(Device=fail, runtime=device)
        if name in ("float32", "float64"):
            return np.dtype(name)
        if name.startswith("__"):
            raise AttributeError(name)
        return fail


def test_cupy_without_a_driver(monkeypatch):
    """The driver's own message, for `place` and for the report."""
    for name in ("cupy", "array_api_compat.cupy"):
        monkeypatch.setitem(sys.modules, name, _NoDriver(name))
    with pytest.raises(BackendNotAvailable, match="'cupy' cannot run here: cudaErrorInsufficient"):
        xpnet.place("cupy")
    info = BACKENDS["cupy"].info()
    assert not info.available
    assert "cudaErrorInsufficientDriver" in str(info)


def test_real_cupy_without_a_driver():
    """The same with the real package, where it is installed on a machine with no GPU."""
    pytest.importorskip("cupy", reason="CuPy is not installed")
    info = BACKENDS["cupy"].info()
    if info.available:
        pytest.skip("the message is that of a machine without a GPU, and this one has one")
    with pytest.raises(BackendNotAvailable, match=r"cannot run here: .*cuda"):
        xpnet.place("cupy")


def test_report():
    """One entry a backend; NumPy is always there, with a device and a version."""
    report = xpnet.backends()
    assert [info.name for info in report] == ["numpy", "cupy", "torch", "jax"]
    assert report[0].available
    assert report[0].version == np.__version__
    for info in report:
        assert info.available == bool(info.devices), str(info)
        assert info.available or info.reason, str(info)


def test_a_device_in_words():
    gpu = backend.DeviceInfo("cuda:0", "NVIDIA H100", 80 * 2**30, "580.1", "13.0")
    assert str(gpu) == "cuda:0: NVIDIA H100, 80.0 GiB, driver 580.1, CUDA 13.0"


def test_the_devices_of_a_report_can_be_asked_for(lib):
    """What `xpnet info` prints is what users type after --device; `compare` does the same."""
    row = BACKENDS[lib.kwargs["xp"]]
    for info in row.devices(lib.xp):
        here = xpnet.place(row.name, info.id)
        assert here.device_info() == info


@pytest.mark.sessions("jax")
def test_float64_that_is_not_is_refused(monkeypatch):
    """JAX makes float32 of float64 unless told otherwise; nobody must get that unasked."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(BackendNotAvailable, match="JAX_ENABLE_X64=1"):
            xpnet.place("jax", dtype="float64")
    finally:
        jax.config.update("jax_enable_x64", True)


def test_an_array_from_elsewhere(lib):
    """What came, what was expected, and how to convert."""
    here = lib.placement
    with pytest.raises(TypeError, match=r"x is a list, not an array; expected .*convert it with"):
        here._check([1.0], "x")
    if lib.kwargs["xp"] != "numpy":
        message = f"x is an array of numpy; expected {here.backend.name}"
        with pytest.raises(TypeError, match=message):
            here._check(np.zeros(1), "x")
    if lib.name == "strict-device1":
        with pytest.raises(TypeError, match=r"x is on device .*CPU_DEVICE.*; expected"):
            here._check(lib.xp.zeros(1), "x")
    with pytest.raises(TypeError, match="expected numpy arrays on cpu") as caught:
        xpnet.place()._check(lib.array([1.0]) if lib.kwargs["xp"] != "numpy" else (), "x")
    # The advice is a line that runs.
    advice = str(caught.value).partition("convert it with ")[2]
    place = "xpnet.place(xp='numpy', device='cpu').asarray(x)"
    assert advice == (place if lib.kwargs["xp"] != "numpy" else "numpy.asarray(x)")


def test_runner_leaves_state_and_losses(lib):
    """Every backend's way of running steps gives what a plain loop gives."""
    here = lib.place("float64")
    state = {"params": {"w": here.floats(np.asarray(1.0))}, "slots": {}}
    data = (here.floats(np.arange(10.0)),)

    def step(state, data, inputs, numbers):
        rows, factor = inputs
        batch = here.xp.take(data[0], rows, axis=0)
        state["params"]["w"] -= numbers[0] * here.xp.sum(factor * batch)
        return state["params"]["w"] + 0.0

    run = here._runner(step, state, data)
    rows = np.asarray([[0, 1], [2, 3], [9, 9]])
    factors = np.asarray([1.0, 1.0, 2.0])
    losses = here.to_host(run((rows, factors), np.asarray([[0.5], [0.25], [1.0]])))
    np.testing.assert_allclose(losses, [0.5, -0.75, -36.75])
    np.testing.assert_allclose(here.to_host(state["params"]["w"]), -36.75)
    losses = here.to_host(run((rows[:1], factors[:1]), np.asarray([[1.0]])))
    np.testing.assert_allclose(losses, [-37.75])


def test_a_graph_that_cannot_be_recorded_runs_eagerly():
    """Without CUDA nothing can be recorded: a warning says why, once, and the result is right."""
    torch = pytest.importorskip("torch", reason="the runner is Torch's")
    from xpnet.backend.torch import _graph

    here = xpnet.place("torch", "cpu", "float64")
    state = {"params": {"w": here.floats(np.asarray(1.0))}}

    def step(state, data, inputs, numbers):
        state["params"]["w"] -= numbers[0] * here.xp.sum(inputs[0])
        return state["params"]["w"] + 0.0

    run = _graph(here, step, state, ())
    rows, numbers = np.asarray([[1, 2]]), np.asarray([[0.5]])
    weights = state["params"]["w"]
    if torch.cuda.is_available():
        pytest.skip("with CUDA, recording arrays of the CPU fails with another error")
    run((rows,), numbers)
    with pytest.warns(UserWarning, match="steps run one by one, not as a CUDA graph: "):
        assert float(run((rows,), numbers)[0]) == -2.0
    assert float(run((rows,), numbers)[0]) == -3.5
    assert state["params"]["w"] is weights


def rules():
    """Every optimizer, and one that is clipped."""
    from xpnet.optimizers import OPTIMIZERS, Clipped

    return {**OPTIMIZERS, "clipped": lambda: Clipped("sgd", 0.1)}


def test_a_step_looks_at_no_value(lib, monkeypatch):
    """A conversion to a Python number inside a step waits for the device, thousands of times."""
    from xpnet.losses import OUTPUTS
    from xpnet.training.sources import Resident
    from xpnet.training.step import make_step

    if not lib.name.startswith("strict"):
        pytest.skip("only arrays of array-api-strict can refuse every conversion to a number")
    array = type(lib.array([1.0]))
    rng = np.random.default_rng(0)
    x, t = lib.array(rng.normal(size=(20, 4))), lib.array(rng.integers(0, 3, 20))
    for output in OUTPUTS:
        for name, make in rules().items():
            net = xpnet.MLP([4, 5, 3], output=output, l2=0.1, dtype="float64", **lib.kwargs)
            rule = make()
            for compute in (net._backpropagate, net._differentiate):
                source = Resident(net.placement._take, (x, t))
                step = make_step(net, rule, compute, source)
                state = {"params": net.params, "slots": rule.slots(net.params)}
                numbers = [
                    lib.array(v) for v in rule.coefficients(np.asarray([1]), np.asarray([0.1]))[0]
                ]
                rows = (lib.array([3, 4, 5]),)
                with monkeypatch.context() as patch:
                    for method in ("__bool__", "__float__", "__int__", "__index__", "__array__"):

                        def refuse(self, *args, where=f"{name}, {output}: {method}", **kwargs):
                            raise AssertionError(f"{where} inside a step")

                        patch.setattr(array, method, refuse)
                    step(state, source.data, rows, numbers)


def test_a_step_makes_no_array_of_a_number(lib, monkeypatch):
    """On a GPU it would be copied there in each step, and no graph can be recorded of that."""
    if not lib.name.startswith("torch"):
        pytest.skip("the array API of Torch makes an array of a number where Torch wants one")
    import torch

    asarray = torch.asarray

    def refuse(values, **kwargs):
        assert not isinstance(values, (int, float)), f"an array of {values} inside a step"
        return asarray(values, **kwargs)

    for step, *arguments in _steps(lib, rules()):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "asarray", refuse)
            step(*arguments)


def test_a_step_on_a_gpu_never_waits(lib):
    """The same where there is a GPU: Torch itself raises on anything that waits."""
    if lib.name != "torch-cuda":
        pytest.skip("needs Torch on CUDA")
    import torch

    for step, *arguments in _steps(lib, ["sgd", "clipped"]):
        step(*arguments)
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _steps(lib, optimizers):
    """Steps of every activation, output and gradient, with their arguments."""
    from xpnet.functions import ACTIVATIONS
    from xpnet.losses import OUTPUTS
    from xpnet.training.blocks import Masks
    from xpnet.training.sources import Resident
    from xpnet.training.step import make_step

    rng = np.random.default_rng(0)
    x, t = lib.array(rng.normal(size=(20, 4))), lib.array(rng.integers(0, 3, 20))
    kept = lib.array(rng.random((2, 5)) > 0.5)
    for activation, output, name in itertools.product(ACTIVATIONS, OUTPUTS, optimizers):
        net = xpnet.MLP(
            [4, 5, 3], activation=activation, output=output, dtype="float64", l2=0.1, seed=0,
            **lib.kwargs,
        )  # fmt: skip
        rule = rules()[name]()
        source = Resident(net.placement._take, (x, t))
        numbers = rule.coefficients(np.asarray([1]), np.asarray([0.1]))[0].tolist()
        for compute, masks in (
            (net._backpropagate, None),
            (net._backpropagate, Masks(2, 5, 0.5, 0)),
            (net._differentiate, None),
        ):
            step = make_step(net, rule, compute, source, masks)
            state = {"params": net.params, "slots": rule.slots(net.params)}
            inputs = (lib.array([3, 4]), *([] if masks is None else [kept]))
            arrays = [lib.array(number) for number in numbers]
            yield step, state, source.data, inputs, arrays
