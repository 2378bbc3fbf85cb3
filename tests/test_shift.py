"""Random shifts of images: the same on every backend, resumed, and nothing but shifts."""

import numpy as np
import pytest
from driven import fit

import xpnet
from xpnet.layers import Affine, Convolution, MaxPool, Shift
from xpnet.layers.windows import shifted
from xpnet.training.blocks import Shifts

RNG = np.random.default_rng(0)
X, T = RNG.random((60, 1, 6, 5)), RNG.integers(0, 3, 60)
LAYERS = [Convolution(3, 3), "relu", MaxPool(2), Affine(3)]


def net_of(lib_kwargs, shift=2):
    layers = [Shift(shift), *LAYERS] if shift else LAYERS
    return xpnet.Network(layers, input_shape=(1, 6, 5), dtype="float64", seed=0, **lib_kwargs)


def moved(image, down, right):
    """An image, moved by hand."""
    result = np.zeros_like(image)
    high, wide = image.shape[-2:]
    for i in range(high):
        for j in range(wide):
            if 0 <= i - down < high and 0 <= j - right < wide:
                result[..., i, j] = image[..., i - down, j - right]
    return result


def test_images_are_moved(lib):
    """Pixels that come in again at the other side, or another image's offset."""
    x = RNG.normal(size=(25, 2, 6, 5))
    offsets = np.stack(np.meshgrid(range(-2, 3), range(-2, 3)), axis=-1).reshape(25, 2)
    found = lib.host(shifted(lib.array(x), lib.array(offsets), 2))
    expected = [moved(image, *offset) for image, offset in zip(x, offsets, strict=True)]
    np.testing.assert_array_equal(found, expected)


def test_offsets_are_drawn_evenly():
    """An offset that never comes, or one stream for two purposes."""
    offsets = Shifts(100, 2, seed=0).take(200)
    values, counts = np.unique(offsets, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert counts.min() > 0.9 * offsets.size / 5
    np.testing.assert_array_equal(offsets, Shifts(100, 2, seed=0).take(200))
    parts = Shifts(100, 2, seed=0)
    np.testing.assert_array_equal(offsets, np.concatenate([parts.take(7), parts.take(193)]))


def test_the_loss_is_that_of_moved_images(lib):
    """A shift that comes after the batch, or is drawn for another row."""
    net = net_of(lib.kwargs, 1)
    options = {"steps": 1, "batch_size": 60, "shuffle": False}
    history = xpnet.fit(net.to(), lib.array(X), lib.array(T), **options)
    offsets = Shifts(60, 1, seed=0).take(1)[0]
    x = np.stack([moved(image, *offset) for image, offset in zip(X, offsets, strict=True)])
    loss = float(lib.host(net.loss(lib.array(x), lib.array(T))))
    np.testing.assert_allclose(history.loss, [loss], rtol=1e-12)
    plain = xpnet.fit(net_of(lib.kwargs, 0), lib.array(X), lib.array(T), **options)
    assert plain.loss[0] != history.loss[0]
    np.testing.assert_allclose(lib.host(net.loss(lib.array(X), lib.array(T))), plain.loss[0])


def test_backends_agree(lib):
    """Images that are moved another way on another library."""
    losses = []
    for kwargs in ({}, lib.kwargs):
        net = net_of(kwargs)
        x, t = net.placement.floats(X), net.placement.asarray(T)
        losses.append(xpnet.fit(net, x, t, steps=20, batch_size=15, seed=3).loss)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-10)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_run_is_resumed(lib, tmp_path, dropout):
    """Offsets drawn anew would make of a resumed run another one."""
    options = {"batch_size": 20, "dropout": dropout}
    whole, part, again = (net_of(lib.kwargs) for _ in range(3))
    x, t = whole.placement.floats(X), whole.placement.asarray(T)
    xpnet.fit(whole, x, t, steps=40, **options)
    xpnet.fit(part, x, t, steps=20, checkpoint=xpnet.Checkpoint(tmp_path, every=10), **options)
    kept = xpnet.Checkpoint(tmp_path, every=10, resume=True)
    xpnet.fit(again, x, t, steps=40, checkpoint=kept, **options)
    for key, p in whole.params.items():
        np.testing.assert_array_equal(lib.host(again.params[key]), lib.host(p))
    with pytest.raises(ValueError, match="a training with other settings: layers"):
        xpnet.fit(net_of(lib.kwargs, 1), x, t, steps=50, checkpoint=kept, **options)


def test_images_on_disk_are_moved_too(lib, tmp_path):
    """Offsets taken for rows of a batch: what is read and what is drawn reach a step together."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", T)
    mapped = [np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "t.npy")]
    options = {"steps": 20, "batch_size": 15, "dropout": 0.2, "seed": 3}
    net = net_of(lib.kwargs)
    there = xpnet.fit(net.to(), net.placement.floats(X), net.placement.asarray(T), **options)
    np.testing.assert_allclose(xpnet.fit(net, *mapped, **options).loss, there.loss, rtol=1e-12)


def test_blocks_change_nothing():
    """A step's offsets that depend on how many steps are asked for at once."""
    losses = [
        fit(net_of({}), X, T, steps=30, batch_size=20, dropout=0.2, block_steps=k).loss
        for k in (1, 7, 30)
    ]
    for other in losses[1:]:
        np.testing.assert_array_equal(other, losses[0])


@pytest.mark.parametrize(("most", "error"), [
    (-1, ValueError), (0, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError),
])  # fmt: skip
def test_bad_shifts(most, error):
    """A layer that no net can be made of."""
    with pytest.raises(error, match="most must be"):
        Shift(most)


def test_where_a_shift_may_stand():
    """Rows of which nobody knows which are neighbours; images that are moved too late."""
    with pytest.raises(ValueError, match=r"layers\[0\], Shift\(1\): it takes images"):
        xpnet.Network([Shift(1), Affine(3)], input_shape=(30,))
    with pytest.raises(ValueError, match=r"layers\[0\], Shift\(5\): nothing would be left of"):
        net_of({}, 5)
    for layers in ([Convolution(2, 3), Shift(1)], [Shift(1), Shift(1)]):
        with pytest.raises(ValueError, match="a Shift must be the first layer"):
            xpnet.Network([*layers, Affine(3)], input_shape=(1, 6, 5))
