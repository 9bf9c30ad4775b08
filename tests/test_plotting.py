"""Plots: the right tile at the right place, files that open, and no matplotlib state touched."""

import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gon_jax import plotting
from gon_jax.plotting import curves

RNG = np.random.default_rng(0)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_puts_each_tile_in_its_place(channels):
    images = RNG.integers(0, 255, (7, 8, 16, channels), dtype=np.uint8)
    grid = plotting.image_grid(images, num_columns=3, padding=2)  # factor 64 / 16 = 4, tiles of 32 x 64
    assert grid.shape == (3 * 34 - 2, 3 * 66 - 2, channels) and grid.dtype == np.uint8
    for i, image in enumerate(images):
        top, left = 34 * (i // 3), 66 * (i % 3)
        np.testing.assert_array_equal(grid[top : top + 32 : 4, left : left + 64 : 4], image)
        np.testing.assert_array_equal(grid[top + 3 : top + 32 : 4, left + 3 : left + 64 : 4], image)
    assert (grid[32:34] == 255).all() and (grid[:, 64:66] == 255).all() and (grid[68:, 66:] == 255).all()
    np.testing.assert_array_equal(grid[:66], plotting.image_grid(images[:6].reshape(2, 3, 8, 16, channels)))


@pytest.mark.parametrize("side, shown", [(8, 64), (28, 56), (32, 64), (64, 64), (256, 256)])
def test_tiles_are_enlarged_by_a_whole_factor_to_about_64_pixels(side, shown):
    assert plotting.image_grid(np.zeros((1, side, side, 1))).shape == (shown, shown, 1)


def test_floats_are_clipped_and_rounded_and_nan_is_gray():
    values = jnp.array([0.0, 1.0, -3.0, 3.0, jnp.nan, jnp.inf, -jnp.inf, 0.5, 1 / 255]).reshape(1, 3, 3, 1)
    for dtype in (jnp.float32, jnp.bfloat16):
        grid = plotting.image_grid(values.astype(dtype), tile=3)
        np.testing.assert_array_equal(grid.ravel(), [0, 255, 0, 255, 128, 255, 0, 128, 1])


@pytest.mark.parametrize(
    "images, match",
    [
        (np.zeros((4, 8, 8)), "missing channel axis"),
        (np.zeros((4, 1, 8, 8)), "channels first"),
        (np.zeros((4, 8, 8, 1), np.int32), "got int32: convert"),
        (np.zeros((0, 8, 8, 1)), "got shape"),
        (np.zeros((8, 8, 1)), r"expected images \[R, C"),
        (np.zeros((1, 1, 1, 8, 8, 1)), r"expected images \[R, C"),
    ],
)
def test_grid_refuses_what_is_not_images(images, match):
    with pytest.raises(ValueError, match=match):
        plotting.image_grid(images)


@pytest.mark.parametrize("channels", [1, 3])
def test_image_is_written_losslessly_and_atomically(tmp_path, channels, monkeypatch):
    image = RNG.integers(0, 256, (5, 9, channels), dtype=np.uint8)
    path = tmp_path / "new" / "image.png"
    plotting.save_image(path, image)
    np.testing.assert_array_equal(read(path), np.broadcast_to(image, (5, 9, 3)))

    def full(_, file, *args, **options):
        file.write(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        plotting.save_image(path, 255 - image)
    np.testing.assert_array_equal(read(path), np.broadcast_to(image, (5, 9, 3)))  # the earlier picture stays whole
    assert [p.name for p in path.parent.iterdir()] == ["image.png"]
    with pytest.raises(ValueError, match="ends in .png"):
        plotting.save_image(tmp_path / "image.jpg", image)


def contains(picture, tiles):
    """The top left corners at which a gray or color image of tiles lies in a picture."""
    height, width = tiles.shape[:2]
    corners = zip(*np.nonzero((picture[:-height, :-width] == tiles[0, 0]).all(-1)), strict=True)
    return [(y, x) for y, x in corners if (picture[y : y + height, x : x + width] == tiles).all()]


def test_reconstructions_stand_below_their_originals_with_labels_at_the_left(tmp_path):
    x, x_hat, pca = RNG.integers(0, 256, (3, 13, 64, 64, 1), dtype=np.uint8)
    plotting.save_reconstructions(
        tmp_path / "a.png", x, {"GON": x_hat, "PCA, 16 components": pca}, errors={"GON": np.arange(13.0)}
    )
    picture = read(tmp_path / "a.png")
    (block,) = contains(picture, plotting.image_grid(np.stack([x[:10], x_hat[:10], pca[:10]])))
    (below,) = contains(picture, plotting.image_grid(np.stack([x[10:], x_hat[10:], pca[10:]])))
    assert below[1] == block[1] and below[0] > block[0] + 3 * 64
    left = picture[:, : block[1]]
    assert (left[:, :8] == 255).all() and (left[:, -8:] == 255).all()  # the longest label is not clipped
    for row in range(3):
        assert (left[block[0] + 66 * row : block[0] + 66 * row + 64] < 128).any()
    with pytest.raises(ValueError, match=r"expected reconstructions of the images' shape .* from 'GON'"):
        plotting.save_reconstructions(tmp_path / "a.png", x, {"GON": x_hat[:4]})


def test_interpolations_and_samples_show_the_grid(tmp_path):
    grid = RNG.integers(0, 256, (2, 6, 64, 64, 3), dtype=np.uint8)
    plotting.save_interpolation(tmp_path / "i.png", grid)
    assert len(contains(read(tmp_path / "i.png"), plotting.image_grid(grid))) == 1
    plotting.save_samples(tmp_path / "s.png", grid[0])
    assert len(contains(read(tmp_path / "s.png"), plotting.image_grid(grid[0], 3))) == 1
    with pytest.raises(ValueError, match=r"\[R, P, H, W, channels\]"):
        plotting.save_interpolation(tmp_path / "i.png", grid[0])


def test_curves_draw_what_is_finite(tmp_path):
    steps = np.arange(100)
    values = np.where(steps == 3, np.nan, np.exp(-steps / 20))
    values[[5, 6]] = 0, np.inf
    for log in (True, False):
        plotting.save_curves(
            tmp_path / "c.png",
            {"training": (steps, values), "validation": ([50], [0.2])},
            "squared error per image",
            log=log,
            reference={"PCA": 0.3},
        )
        picture = read(tmp_path / "c.png")
        assert picture.shape == (560, 980, 3)
        assert (picture == (31, 119, 180)).all(-1).any() and (picture == (255, 127, 14)).all(-1).any()
    plotting.save_curves(tmp_path / "c.png", {"diverged": ([1, 2], [np.nan, np.nan])}, "nats")
    plotting.save_curves(tmp_path / "c.png", {}, "nats")
    with pytest.raises(ValueError, match="as many steps as values of 'x'"):
        plotting.save_curves(tmp_path / "c.png", {"x": ([1, 2], [1])}, "nats")


def test_neither_pyplot_nor_a_library_before_it_is_needed():
    code = """if True:
        import sys, tempfile, pathlib
        from gon_jax import plotting
        assert not {"matplotlib", "PIL"} & set(sys.modules)
        with tempfile.TemporaryDirectory() as folder:
            plotting.save_curves(pathlib.Path(folder) / "c.png", {"x": ([1, 2], [3, 4])}, "nats")
        assert "matplotlib.pyplot" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_inpaintings_show_what_was_known_in_color_and_the_rest_in_none_that_is(tmp_path):
    x, completed = RNG.integers(0, 256, (2, 3, 64, 64, 1), dtype=np.uint8)
    known = RNG.random((3, 64, 64)) < 0.5
    plotting.save_inpainting(tmp_path / "i.png", x, known, completed)
    picture = read(tmp_path / "i.png")
    ((top, left),) = contains(picture, np.broadcast_to(plotting.image_grid(x[:1]), (64, 64, 3)))
    assert contains(picture, np.broadcast_to(plotting.image_grid(completed[None]), (64, 196, 3))) == [(top + 132, left)]
    middle = picture[top + 66 : top + 130, left : left + 64]
    gray = (middle == middle[..., :1]).all(-1)
    np.testing.assert_array_equal(gray, known[0])
    np.testing.assert_array_equal(middle[gray], np.broadcast_to(x[0], (64, 64, 3))[gray])
    assert len(np.unique(middle[~gray], axis=0)) == 1
    for wrong in (known[:2], known[..., None]):
        with pytest.raises(ValueError, match=r"known \[N, H, W\], got shapes"):
            plotting.save_inpainting(tmp_path / "i.png", x, wrong, completed)


@pytest.mark.parametrize("channels", [1, 3])
def test_superresolution_stands_beside_the_pixels_and_bicubic(tmp_path, channels):
    x = RNG.integers(0, 256, (2, 8, 8, channels), dtype=np.uint8)
    large = RNG.integers(0, 256, (2, 256, 256, channels), dtype=np.uint8)
    plotting.save_superresolution(tmp_path / "s.png", x, large)
    picture = read(tmp_path / "s.png")
    pixels = x[0].repeat(32, 0).repeat(32, 1)
    ((top, left),) = contains(picture, np.broadcast_to(pixels, (256, 256, 3)))
    np.testing.assert_array_equal(
        picture[top : top + 256, left + 528 : left + 784], np.broadcast_to(large[0], (256, 256, 3))
    )
    bicubic = picture[top : top + 256, left + 264 : left + 520].astype(int)
    assert abs(np.diff(bicubic, axis=0)).max() < 60 < abs(np.diff(pixels.astype(int), axis=0)).max()  # smooth
    blocks = bicubic.reshape(8, 32, 8, 32, 3)[:, 12:20, :, 12:20].mean((1, 3))
    assert np.corrcoef(blocks.ravel(), np.broadcast_to(x[0], (8, 8, 3)).ravel())[0, 1] > 0.97
    assert (picture[:top, left : left + 256] < 128).any() and (picture[:top, left + 528 :] < 128).any()  # labels
    with pytest.raises(ValueError, match=r"and as many \[N, H, W, channels\]"):
        plotting.save_superresolution(tmp_path / "s.png", x, large[:1])


def test_latents_are_drawn_as_far_as_they_vary(tmp_path):
    z = RNG.normal(size=(200, 2, 4)) * [1, 10, 0.1, 0]  # two constant dimensions
    plotting.save_latents(tmp_path / "c.png", z, {"Jacobian": np.array([3.0, 1, 0]), "latents": [2.0, 1.0]})
    picture = read(tmp_path / "c.png")
    assert picture.shape == (1036, 1400, 3)
    assert (picture == (31, 119, 180)).all(-1).any() and (picture == (255, 127, 14)).all(-1).any()
    plotting.save_latents(tmp_path / "c.png", z[:2], {})
    with pytest.raises(ValueError, match="200 equal ones: the latents have collapsed"):
        plotting.save_latents(tmp_path / "c.png", z[..., 3], {})
    with pytest.raises(ValueError, match="got 200 of 200 with NaN"):
        plotting.save_latents(tmp_path / "c.png", z * np.nan, {})


def test_scatter_colors_classes_on_their_regions(tmp_path, monkeypatch):
    z, y = np.array([[-1, 0], [1, 0.5], [np.nan, 0], [2, 0]]), np.array([0, 1, 1, 2])
    line = np.linspace(-3, 3, 40)
    regions = line, line[:30], np.where(line > 0, 1, 0) * np.ones([30, 1], int)
    with monkeypatch.context() as patch:
        drawn = []
        patch.setattr(curves, "save_figure", lambda path, figure: drawn.append(figure))
        plotting.save_scatter("", z, y, regions=regions, title="latents")
    (figure,) = drawn
    (axes,) = figure.axes
    mesh, points = axes.collections
    np.testing.assert_array_equal(points.get_offsets(), z[[0, 1, 3]])
    colors = points.get_facecolors()[:, :3]
    assert len(np.unique(colors, axis=0)) == 3
    figure.draw_without_rendering()
    shades = np.asarray(mesh.get_facecolors())[:, :3].reshape(30, 40, 3)
    np.testing.assert_allclose(shades[:, [0, -1]], 1 - 0.25 * (1 - colors[[0, 1]]) * np.ones([30, 1, 1]))
    assert axes.get_xlim() == (-3, 3) and axes.get_aspect() == 1
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts] == ["0", "1", "2"]
    boxes = [text.get_window_extent() for text in texts]
    assert all(box.x1 <= figure.bbox.x1 for box in boxes) and not boxes[0].overlaps(boxes[1])
    plotting.save_scatter(tmp_path / "s.png", z * 9, y + 9)
    assert read(tmp_path / "s.png").shape == (630, 896, 3)
    for wrong, match in (
        ({"z": z[:, :1]}, r"latents \[N, 2\] .* \(4, 1\) and"),
        ({"labels": y[:2]}, r"\(2,\), in"),
        ({"labels": y + 0.5}, "float64"),
        ({"labels": y - 1}, "got -1 to"),
        ({"labels": y + 18}, "from 0 to 19, got 0 to 20"),
        ({"z": z * np.nan}, "one finite latent"),
        ({"regions": (line, line, regions[2])}, r"\[40, 40\], .* got shape \(30, 40\)"),
        ({"regions": (*regions[:2], regions[2] - 1)}, "got -1 to"),
    ):
        with pytest.raises(ValueError, match=match):
            plotting.save_scatter(tmp_path / "wrong.png", **{"z": z, "labels": y} | wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]
