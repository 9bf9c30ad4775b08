"""Plots that compare methods: what is drawn is where the data are, and the same method looks the same."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.paper import plots

RNG = np.random.default_rng(0)
STEPS = np.array([100, 200, 300, 400])


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def separate(figure):
    """Whether no two texts of a figure overlap, nor any is cut off."""
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in (*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label)]
    texts += [text for item in figure.legends for text in item.get_texts()] + figure.texts
    boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
    inside = all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    return inside and not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_panels_draw_mean_and_range_of_the_seeds(tmp_path):
    seeds = np.array([[8, 4, np.nan, 2], [10, 6, 3, 1]])
    panels = {
        "MNIST": {"GON": (STEPS, seeds), "AE": (STEPS, [9, -1, 5, np.inf])},
        "COIL-20": {"AE": (STEPS, [7, 6, 5, 4]), "VAE": (STEPS[:0], [])},
    }
    figure = plots._panels(panels, "training step", "nats", True, {"GON": 0.5, "PCA": 3, "VAE": None})
    first, second = figure.axes
    gon, ae = lines(first)["GON"], lines(first)["AE"]
    np.testing.assert_array_equal(gon.get_xydata(), [[100, 9], [200, 5], [400, 1.5]])
    np.testing.assert_array_equal(ae.get_xydata(), [[100, 9], [300, 5]])
    (band,) = first.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert corners == {(100, 8), (100, 10), (200, 4), (200, 6), (400, 1), (400, 2)}
    assert (band.get_facecolor()[0, :3] == gon.get_color()).all() and gon.get_color() != ae.get_color()
    assert lines(second)["AE"].get_color() == ae.get_color() and lines(second)["AE"].get_marker() == ae.get_marker()
    for axes in (first, second):  # references in both panels: the method's in its color, another in gray
        paper, pca = lines(axes)["GON, reference"], lines(axes)["PCA, reference"]
        assert list(paper.get_ydata()) == [0.5, 0.5] and list(pca.get_ydata()) == [3, 3]
        assert paper.get_linestyle() == "--" != pca.get_linestyle() and paper.get_color() == gon.get_color()
    assert legend(figure) == ["GON", "AE", "VAE", "paper", "PCA", "range of the seeds"]
    assert first.get_yscale() == "log" and first.get_ylim() == second.get_ylim() and separate(figure)
    plots.save_panels(tmp_path / "p.png", panels, xlabel="training step", ylabel="nats", log=False)
    assert read(tmp_path / "p.png").shape == (511, 952, 3)


def test_panels_wrap_and_have_references_of_their_own():
    steps, labels = np.arange(1, 41) * 1000, [f"method {index}, with a long name" for index in range(10)]
    panels = {
        f"panel {panel}": {label: (steps, 5 + np.exp(-steps / 9000) + index / 9) for index, label in enumerate(labels)}
        for panel in range(6)
    }
    figure = plots._panels(panels, "training step", "nats", True, {"panel 5": {labels[1]: 5.2}})
    assert len(figure.axes) == 6 and figure.axes[4].get_subplotspec().rowspan.start == 1
    assert [len(axes.lines) for axes in figure.axes] == [10] * 5 + [11]
    assert len({(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}) == 10
    assert lines(figure.axes[0])[labels[0]].get_marker() == "None"  # 40 points
    assert separate(figure) and sum(bool(t.get_text()) for t in figure.axes[0].get_yticklabels()) >= 3
    assert "15,000" in {t.get_text() for t in figure.axes[0].get_xticklabels()}
    figure = plots._panels({"panel": panels["panel 0"]}, "training step", "nats", True, None)
    assert separate(figure) and figure.axes[0].get_window_extent().height > 250  # the legend leaves room


@pytest.mark.parametrize(
    "panels, reference, match",
    [
        ({}, None, "at least one positive, finite value, got none"),
        ({"a": {"x": (STEPS, -STEPS)}}, None, r"got none in \['a'\]: has the training diverged"),
        ({"a": {"x": (STEPS, [1, 2])}}, None, r"\[seeds, N\] of 'a, x', got shapes \(4,\) and \(1, 2\)"),
        ({"a": {"x": (STEPS, np.ones([0, 4]))}}, None, r"got shapes \(4,\) and \(0, 4\)"),
        ({"a": {"x": (STEPS, STEPS)}}, {"b": {"x": 1}}, r"references for \['a'\], got some for \['b'\]"),
    ],
)
def test_panels_refuse(tmp_path, panels, reference, match):
    with pytest.raises(ValueError, match=match):
        plots.save_panels(tmp_path / "p.png", panels, xlabel="step", ylabel="nats", reference=reference)
    assert not any(tmp_path.iterdir())


def test_histograms_beside_the_normal_of_their_moments(tmp_path):
    z = 3 + 2 * RNG.normal(size=(500, 4, 4))
    levels = (np.arange(9000) + 0.5) / 9000
    skewed = -np.log(levels).reshape(1000, 9)  # of an exponential: skewness 2, excess kurtosis 6
    z[0, 0, 0] = np.nan
    figure = plots._histograms({"GON": z, "VAE": skewed})
    mean, std = np.nanmean(z), np.nanstd(z)
    for axes, entries in zip(figure.axes, (z, skewed), strict=True):
        areas = np.array([bar.get_width() * bar.get_height() for bar in axes.patches])
        assert len(areas) == 60 and areas.sum() == pytest.approx(1)
        middles = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
        assert areas @ middles == pytest.approx(np.nanmean(entries), abs=0.05)
    x, density = figure.axes[0].lines[0].get_data()
    np.testing.assert_allclose(density, np.exp(-(((x - mean) / std) ** 2) / 2) / std / (2 * np.pi) ** 0.5)
    assert "skewness 0.0" in figure.axes[0].texts[0].get_text().replace("-", "")
    skewness, kurtosis = (float(line.split()[-1]) for line in figure.axes[1].texts[0].get_text().split("\n"))
    assert skewness == pytest.approx(2, abs=0.05) and kurtosis == pytest.approx(6, abs=0.5)
    assert separate(figure)
    for axes in figure.axes:
        assert axes.texts[0].get_window_extent().y0 > max(bar.get_window_extent().y1 for bar in axes.patches)
    plots.save_histograms(tmp_path / "h.png", {"GON": z})
    assert read(tmp_path / "h.png").shape[1] == 896
    for wrong, match in (
        ({}, "at least one array"),
        ({"x": z * 0 + 0.1}, r"of 'x', shape .*: expected latents that differ, got 7999"),
        ({"x": z * np.nan}, r"of 'x', shape .*, got shape \(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=match):
            plots.save_histograms(tmp_path / "wrong.png", wrong)


def test_bars_and_whiskers_are_as_high_as_their_values(tmp_path):
    groups = {"MNIST": {"GON": [1, 2, 6], "AE": 1234.4}, "COIL-20": {"GON": [1, np.nan], "AE": [5]}}
    for log in (False, True):
        figure = plots._bars(groups, "nats", {"MNIST": {"GON": 2.5}, "COIL-20": {"PCA": 9}}, log)
        (axes,) = figure.axes
        bars = {
            (round(bar.get_x() + bar.get_width() / 2), container.get_label()): bar
            for container in axes.containers
            if container.get_label() in ("GON", "AE")
            for bar in container
        }
        assert {where: bar.get_height() for where, bar in bars.items()} == {
            (0, "GON"): 3,
            (0, "AE"): 1234.4,
            (1, "AE"): 5,
        }
        assert bars[0, "AE"].get_facecolor() == bars[1, "AE"].get_facecolor() != bars[0, "GON"].get_facecolor()
        segments = {artist.get_label(): artist.get_segments()[0] for artist in axes.collections}
        (whisker,) = (segment for label, segment in segments.items() if label.startswith("_"))
        np.testing.assert_allclose(whisker[:, 1], [1, 6])
        gon = bars[0, "GON"]
        left, right = gon.get_x(), gon.get_x() + gon.get_width()
        np.testing.assert_allclose(segments["GON, reference"], [[left, 2.5], [right, 2.5]])
        np.testing.assert_allclose(segments["PCA, reference"], [[0.55, 9], [1.45, 9]])
        assert [text.get_text() for text in axes.texts] == ["3", "1,234", "n/a", "5"]
        assert legend(figure) == ["GON", "AE", "paper", "PCA", "range of the seeds"] and separate(figure)
    plots.save_bars(tmp_path / "b.png", {"gap": {"GON": -3}}, "nats")
    assert read(tmp_path / "b.png").shape == (560, 700, 3)
    for wrong, match in (
        ({}, "got none"),
        ({"a": {"x": np.nan}}, r"got none in \['a'\]"),
        ({"a": {"x": np.ones([2, 2])}}, r"'a', 'x', got shape \(2, 2\)"),
    ):
        with pytest.raises(ValueError, match=match):
            plots.save_bars(tmp_path / "wrong.png", wrong, "nats")


@pytest.mark.parametrize("value", [2.1, 2.4])
def test_numbers_of_bars_keep_clear_of_lines(value):
    figure = plots._bars({"MNIST": {"GON": 2, "AE": 5}}, "nats", {"PCA": value, "GON": value + 0.1}, False)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    box = axes.texts[0].get_window_extent()
    for line in (value, value + 0.1):
        height = axes.transData.transform((0, line))[1]
        assert not box.y0 < height < box.y1
    assert box.y0 < axes.transData.transform((0, value + 0.4))[1]  # but near its bar


def test_image_rows_show_all_sizes_at_one(tmp_path):
    small, large = RNG.integers(0, 256, (4, 8, 8, 1), np.uint8), RNG.integers(0, 256, (4, 32, 32, 3), np.uint8)
    plots.save_image_rows(tmp_path / "r.png", {"original": small, "GON, 32x32": large}, columns=["10", "50 steps"])
    picture = read(tmp_path / "r.png")
    height, width = picture.shape[:2]
    top, left = height - 16 - 130, width - 16 - 262  # two rows of four tiles of 64, margins of 16, gaps of 2
    for column in range(4):
        x = left + 66 * column
        np.testing.assert_array_equal(
            picture[top : top + 64 : 8, x : x + 64 : 8], np.broadcast_to(small[column], (8, 8, 3))
        )
        np.testing.assert_array_equal(
            picture[top + 7 : top + 64 : 8, x + 7 : x + 64 : 8], np.broadcast_to(small[column], (8, 8, 3))
        )
        np.testing.assert_array_equal(picture[top + 66 : top + 130 : 2, x + 1 : x + 64 : 2], large[column])
    titles = (picture[: top - 2, left:] < 128).any((0, 2))
    assert titles[:130].any() and titles[134:].any() and not titles[-4:].any()
    assert (picture[top:, : left - 2] < 128).any()  # labels
    plots.save_image_rows(tmp_path / "r.png", {"GON": small}, columns=["10,000 steps"] * 4)
    assert read(tmp_path / "r.png").shape[1] > 4 * 100  # as wide as the titles need
    for rows, columns, match in (
        ({}, (), "got {}"),
        ({"a": small, "b": large[:2]}, (), "equally many"),
        ({"a": small[0]}, (), "equally many"),
        ({"a": small[..., 0]}, (), "channel axis"),
        ({"a": small, "b": large[:, :16]}, (), "same proportions"),
        ({"a": small}, ["x"] * 3, "titles for 4 images, got 3"),
    ):
        with pytest.raises(ValueError, match=match):
            plots.save_image_rows(tmp_path / "wrong.png", rows, columns=columns)
    assert [path.name for path in tmp_path.iterdir()] == ["r.png"]
