"""Folders of images: sizes, channels, classes, and files that are no images."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("PIL", reason="images are read by Pillow")

from PIL import Image

import xpnet
from xpnet.datasets import Images


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images of 3 × 4 pixels, in colours."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 3, 4, 3))
    for i, name in enumerate(["cat/a.png", "cat/b.png", "dog/a.PNG", "dog/b.bmp"]):
        save(tmp_path / "set" / name, pixels[i])
    (tmp_path / "set" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "set" / "cat" / ".hidden.png").write_text("no image")
    return tmp_path / "set", pixels


def test_pixels_classes_and_channels(folder):
    """Channels or axes that are exchanged, or an image of another class."""
    path, pixels = folder
    x, t, description = xpnet.load_images(path)
    np.testing.assert_allclose(x, pixels.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    np.testing.assert_array_equal(t, [0, 0, 1, 1])
    assert description == Images((3, 4), False, ("cat", "dog"))
    assert Images.of_dict(json.loads(json.dumps(description.to_dict()))) == description
    assert x.dtype == np.float32


def test_images_are_placed(folder, lib):
    """Arrays of another library than was asked for are of no use to its net."""
    x, t, description = xpnet.load_images(folder[0], **lib.kwargs)
    lib.place("float32")._check(x, "x")
    np.testing.assert_array_equal(lib.host(t), [0, 0, 1, 1])
    np.testing.assert_allclose(lib.host(description.load(folder[0], **lib.kwargs)[0]), lib.host(x))


def test_gray_and_size(folder, tmp_path):
    """A size that is not asked for, or three channels of the same."""
    path, pixels = folder
    x, _, description = xpnet.load_images(path, gray=True, size=(2, 5))
    assert (x.shape, description.shape) == ((4, 1, 2, 5), (1, 2, 5))
    assert xpnet.load_images(path, size=2)[0].shape == (4, 3, 2, 2)
    x = xpnet.load_images(path, gray=True)[0]
    np.testing.assert_allclose(255 * x[:, 0], pixels @ [0.299, 0.587, 0.114], atol=1.0)
    for name in ("a", "b"):
        save(tmp_path / "gray" / name / "1.png", pixels[0, :, :, 0])
    assert xpnet.load_images(tmp_path / "gray")[0].shape == (2, 1, 3, 4)


def test_other_images_are_read_as_the_first_were(folder, tmp_path):
    """One image, a folder without classes, other sizes where these were brought to one."""
    path, _ = folder
    x, t, description = xpnet.load_images(path)
    one, none = description.load(path / "cat" / "b.png")
    assert none is None
    np.testing.assert_array_equal(one, x[1:2])
    np.testing.assert_array_equal(description.load(path / "dog")[0], x[2:])
    np.testing.assert_array_equal(description.load(path)[1], t)
    large = save(tmp_path / "large.png", np.zeros((9, 9)))
    with pytest.raises(xpnet.FileError, match=r"large.png: expected 3×4 pixels, as the net was"):
        description.load(large)
    assert xpnet.load_images(path, size=5)[2].load(large)[0].shape == (1, 3, 5, 5)
    save(path / "emu" / "1.png", np.zeros((3, 4)))
    with pytest.raises(xpnet.FileError, match=r"'emu' is none of .* 'cat', 'dog'"):
        description.load(path)


def test_a_camera_that_was_held_upright(tmp_path):
    """An image that lies on its side is another image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4))
    for name in ("a", "b"):
        save(tmp_path / name / "1.png", pixels, exif=exif)
    x = xpnet.load_images(tmp_path)[0]
    np.testing.assert_allclose(255 * x[0, 0], np.rot90(pixels, -1), rtol=1e-6)


def bad(tmp_path):
    pixels = np.zeros((3, 4))
    whole = save(tmp_path / "whole.png", np.arange(3000).reshape(50, 60)).read_bytes()
    for case in ("broken", "text", "sizes", "deep", "mixed", "hollow"):
        for name in ("a", "b"):
            save(tmp_path / case / name / "1.png", pixels)
    (tmp_path / "broken" / "a" / "1.png").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "broken" / "b" / "1.png", np.zeros((50, 60)))
    (tmp_path / "text" / "b" / "1.png").write_text("<html>")
    save(tmp_path / "sizes" / "b" / "1.png", np.zeros((4, 4)))
    Image.fromarray(np.zeros((3, 4), np.uint16)).save(tmp_path / "deep" / "b" / "1.png")
    save(tmp_path / "mixed" / "1.png", pixels)
    (tmp_path / "hollow" / "c").mkdir()
    save(tmp_path / "one" / "a" / "1.png", pixels)
    save(tmp_path / "flat" / "1.png", pixels)
    (tmp_path / "nothing").mkdir()


@pytest.mark.parametrize(("case", "message"), [
    ("broken", "1.png: expected an image, found: .*truncated"),
    ("text", "1.png: expected an image, found: cannot identify"),
    ("sizes", "1.png: expected 3×4 pixels, as in .*1.png, found 4×4: give size="),
    ("deep", "1.png: expected 8 bits a channel, found 'I"),
    ("mixed", "expected images or folders of them, found both, such as 1.png and a"),
    ("hollow", "c: expected images, found none"),
    ("one", "a folder of images for each of two or more classes, found only 'a'"),
    ("flat", "a folder of images for each of two or more classes, found none"),
    ("nothing", "expected a folder of images for each class, found no image"),
])  # fmt: skip
def test_folders_that_are_refused(tmp_path, case, message):
    """A traceback of Pillow, or a net that is trained on nonsense."""
    bad(tmp_path)
    with pytest.raises(xpnet.FileError, match=message):
        xpnet.load_images(tmp_path / case)


def test_a_bomb_of_pixels(folder, monkeypatch):
    """Pillow warns of so many pixels only, and goes on."""
    for limit in (11, 5):  # where Pillow warns, and where it raises
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(xpnet.FileError, match=r"a.png: .*exceeds limit of"):
            xpnet.load_images(folder[0])


def test_arguments(folder, tmp_path):
    """Sizes that are none, and what is not there."""
    for size in (0, (1, 2, 3), (2, -1)):
        with pytest.raises(ValueError, match="size"):
            xpnet.load_images(folder[0], size=size)
    with pytest.raises(TypeError, match="gray must be True or False"):
        xpnet.load_images(folder[0], gray=1)
    with pytest.raises(FileNotFoundError):
        xpnet.load_images(tmp_path / "no")


def test_without_pillow_it_says_what_to_install(folder, monkeypatch):
    """An ImportError from somewhere inside."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r"pillow: python -m pip install 'xpnet\[data\]'"):
        xpnet.load_images(folder[0])
