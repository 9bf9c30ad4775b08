"""Sound, solids and films on disk: read back, measured, and refused where they are not what is expected."""

import wave

import numpy as np
import pytest
from PIL import Image

from examples import signals
from gon_jax import plotting
from gon_jax.cli.main import main
from gon_jax.runs import pictures

RNG = np.random.default_rng(0)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def tone(hertz, length=2048, rate=8000):
    return 0.5 + 0.4 * np.sin(2 * np.pi * hertz * np.arange(length) / rate)


def test_wav_is_heard_at_its_pitch_with_silence_between(tmp_path):
    sounds = np.stack([tone(440), tone(660)])[..., None]
    for given in (sounds.astype(np.float32), np.rint(sounds * 255).astype(np.uint8)):
        signals.write_wav(tmp_path / "a.wav", given, 8000, pause=0.1)
        with wave.open(str(tmp_path / "a.wav")) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            heard = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert len(heard) == 2 * (2048 + 800) and abs(heard[2048:2848]).max() == 0
        assert heard.max() == pytest.approx(0.8 * 32767, rel=0.01)
        for start, hertz in ((0, 440), (2848, 660)):
            spectrum = abs(np.fft.rfft(heard[start : start + 2048]))
            assert abs(spectrum.argmax() * 8000 / 2048 - hertz) < 4


def test_wav_of_one_sound_or_two_channels_and_what_cannot_be_heard(tmp_path):
    signals.write_wav(tmp_path / "a.wav", [np.nan, 0.5, -3.0, 7.0, np.inf], 8000, pause=0)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert np.frombuffer(file.readframes(5), "<i2").tolist() == [0, 0, -32767, 32767, 32767]
    stereo = np.stack([np.zeros([1, 10]), np.ones([1, 10])], -1)
    signals.write_wav(tmp_path / "a.wav", stereo, 44100, pause=0)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnchannels() == 2 and file.getframerate() == 44100 and file.getnframes() == 10
        assert np.frombuffer(file.readframes(1), "<i2").tolist() == [-32767, 32767]
    for shape in ((2, 10), (2, 10, 3), (0, 10, 1)):
        with pytest.raises(ValueError, match=r"expected sounds \[L\] or \[N, L, 1 or 2 channels\], got shape"):
            signals.write_wav(tmp_path / "b.wav", np.zeros(shape), 8000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_waveforms_draw_each_name_and_the_original_behind(tmp_path):
    x = np.stack([tone(440, 400), tone(550, 400)])[..., None]
    silent = np.full_like(x, 0.5)
    signals.save_waveforms(tmp_path / "w.png", {"original": x, "GON": silent}, 8000)
    picture = read(tmp_path / "w.png")
    assert (picture == (31, 119, 180)).all(-1).any() and (picture == (255, 127, 14)).all(-1).any()
    assert (picture == 166).all(-1).sum() > 500  # the original, in gray behind the other
    silent[0, 3] = np.nan
    signals.save_waveforms(tmp_path / "w.png", {"1": silent}, 8000)
    assert not (read(tmp_path / "w.png") == 166).all(-1).sum() > 500
    with pytest.raises(ValueError, match=r"one shape \[N, L, channels\], got \(1, 400, 1\) from 'GON'"):
        signals.save_waveforms(tmp_path / "w.png", {"original": x, "GON": x[:1]}, 8000)
    with pytest.raises(ValueError, match=r"\[N, L, channels\], got \(2, 400\) from 'x'"):
        signals.save_waveforms(tmp_path / "w.png", {"x": x[..., 0]}, 8000)
    with pytest.raises(ValueError, match="at least one array"):
        signals.save_waveforms(tmp_path / "w.png", {}, 8000)


def blue(picture):
    return picture[..., 2].astype(int) - picture[..., 0] > 25


def pixel_size(sizes):
    """The side of a pixel of a rendering, in voxels: the box of the volume fills it but for 3 %."""
    eye = signals._EYE
    right = np.cross([1, 0, 0], eye) / np.hypot(*eye[1:])
    reach = max(abs(axis) @ sizes for axis in (right, np.cross(eye, right)))
    return reach * 1.03 / (signals._PIXELS / 2)


@pytest.mark.quick("sizes0")
@pytest.mark.parametrize("sizes", [(24, 24, 24), (16, 24, 40)])
def test_rendered_area_is_that_of_the_shadow(sizes):
    sizes = np.array(sizes)
    box = signals._render(np.ones([1, *sizes]))[0]
    shadow = signals._EYE @ (sizes.prod() / sizes)  # the three faces that are seen
    assert blue(box).sum() * pixel_size(sizes) ** 2 == pytest.approx(shadow, rel=0.05)  # edges are bevelled
    assert len(np.unique(box[blue(box)][:, 0] // 24)) >= 3  # in different light
    centers = np.indices(sizes) - (sizes[:, None, None, None] - 1) / 2
    ball = np.clip(0.5 + min(sizes) / 2 - 0.7 - np.linalg.norm(centers, axis=0), 0, 1)
    picture = signals._render(ball[None])[0]
    assert blue(picture).sum() * pixel_size(sizes) ** 2 == pytest.approx(np.pi * (min(sizes) / 2 - 0.7) ** 2, rel=0.02)
    assert not blue(signals._render(np.zeros([1, *sizes]))).any()


@pytest.mark.slow
def test_up_is_up_and_the_near_hides_the_far():
    def where(*voxel):
        volume = np.zeros([1, 8, 8, 8])
        volume[0][voxel] = 1
        return np.argwhere(blue(signals._render(volume)[0])).mean(0)

    assert where(7, 3, 3)[0] < where(0, 3, 3)[0] - 30  # higher: a smaller row
    assert where(0, 7, 0)[0] > where(0, 0, 0)[0] + 20 < where(0, 0, 7)[0]  # nearer: lower
    assert where(0, 7, 0)[1] < where(0, 0, 0)[1] < where(0, 0, 7)[1]
    volume = np.zeros([2, 8, 8, 8])
    volume[:, 4:] = 1
    volume[1, :4, :4, :4] = 1  # behind and below
    seen = signals._render(volume)
    higher = seen[:, : len(seen[0]) // 2].astype(int)
    assert blue(higher[0]).any() and abs(higher[0] - higher[1]).max() <= 1  # the light is of the blurred volume


def test_voxels_stand_in_rows_of_names(tmp_path):
    ones, dots = np.ones([3, 4, 4, 4, 1], np.float32), np.zeros([3, 4, 4, 4, 1], np.float32)
    dots[:, 2, 2, 2] = 1
    dots[1, 0] = np.nan  # nothing
    signals.save_voxels(tmp_path / "v.png", {"original": ones, "GON": dots}, num_columns=2)
    picture = blue(read(tmp_path / "v.png"))
    side = signals._PIXELS // 2
    assert picture.shape[0] > 4 * side and picture.shape[1] > 2 * side
    rows = [part.sum() for part in np.array_split(picture, 4)]  # two blocks of two rows
    assert rows[0] > 3 * rows[1] > 0 and rows[2] > 3 * rows[3] > 0 and rows[2] < 0.6 * rows[0]
    with pytest.raises(ValueError, match="one channel"):
        signals.save_voxels(tmp_path / "v.png", {"x": np.ones([1, 4, 4, 4, 2])})
    with pytest.raises(ValueError, match=r"\[N, D, H, W, 1\], got \(4, 4, 4, 1\)"):
        signals.save_voxels(tmp_path / "v.png", {"x": ones[0]})


@pytest.mark.parametrize("channels", [1, 3])
def test_films_are_strips_and_gifs(tmp_path, channels):
    films = RNG.integers(0, 256, (3, 6, 8, 8, channels), dtype=np.uint8)
    signals.save_video(tmp_path / "f.png", {"original": films, "GON": films / 255})
    picture = read(tmp_path / "f.png")
    strip = np.broadcast_to(plotting.image_grid(films[:1]), (64, 6 * 66 - 2, 3))
    columns = [
        left
        for left in range(picture.shape[1] - strip.shape[1] + 1)
        if (picture[16:80, left : left + strip.shape[1]] == strip).all()
    ]
    assert len(columns) == 1
    left, below = columns[0], 16 + 66 + 64 + 20
    np.testing.assert_array_equal(picture[82:146, left : left + strip.shape[1]], strip)
    np.testing.assert_array_equal(
        picture[below : below + 64, left : left + strip.shape[1]],
        np.broadcast_to(plotting.image_grid(films[2:]), strip.shape),
    )
    with pytest.raises(ValueError, match=r"got \(2, 6, 8, 8, . from 'GON'|got \(2, 6, 8, 8, .\) from 'GON'"):
        signals.save_video(tmp_path / "f.png", {"original": films, "GON": films[:2]})

    for given, num_columns in ((films, 3), (films[None], None)):
        signals.write_gif(tmp_path / "f.gif", given, fps=10, num_columns=num_columns)
        with Image.open(tmp_path / "f.gif") as gif:
            assert gif.n_frames == 6 and gif.info["duration"] == 100 and gif.info["loop"] == 0
            for time in range(6):
                gif.seek(time)
                expected = np.broadcast_to(plotting.image_grid(films[:, time], 3), (*gif.size[::-1], 3))
                error = abs(np.asarray(gif.convert("RGB")).astype(int) - expected)
                assert error.max() == 0 if channels == 1 else error.mean() < 25  # 256 colors
    with pytest.raises(ValueError, match=r"expected films \[N, T, H, W, channels\]"):
        signals.write_gif(tmp_path / "f.gif", films[0])


def test_bytes_and_floats_of_a_film_are_shown_alike(tmp_path):
    films = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, 1), np.uint8)
    for name, original in (("bytes", films), ("floats", films / 255)):
        pictures.save_examples(tmp_path / f"{name}.png", "video", None, {"original": original, "GON": films / 255})
    for suffix in ("png", "gif"):
        first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("bytes", "floats"))
        assert first == second


@pytest.mark.slow
def test_a_run_of_ones_own_signals_is_drawn_where_the_file_is_imported(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    np.save("films.npy", RNG.integers(0, 256, (20, 3, 4, 4, 1), dtype=np.uint8))
    options = "--dataset films.npy --image-size None --network siren --hidden-dim 8 --latent-shape 3"
    line = f"train {options} --num-steps 2 --batch-size 4 --num-validation 4"
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "SIGNAL_PLOTS", {})
        assert main([*line.split(), "--run", "plain"]) == 0
        assert "examples of video are not drawn: import a file" in caplog.text
        assert main(["reconstruct", "plain"]) == 1 and "gon --import examples/signals.py" in capsys.readouterr().err
        assert main(["reconstruct", "plain", "--output", "films.npz"]) == 0
    assert [path.name for path in (tmp_path / "plain").glob("*.png")] == ["loss.png"]
    assert main(["--import", "examples.signals", *line.split(), "--run", "drawn"]) == 0
    names = {path.name for path in (tmp_path / "drawn").iterdir() if path.suffix in (".png", ".gif")}
    assert names == {"loss.png"} | {
        f"{name}.{suffix}" for name in ("reconstructions", "interpolation", "samples") for suffix in ("png", "gif")
    }
