"""Data that are not in memory: the same batches, losses and metrics as data that are, in memory of a fixed size."""

import io
import itertools
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks import input_pipeline
from gon_jax.data import epoch_order, read_images
from gon_jax.data.picture_sources import FileSource, RecordSource, cached
from gon_jax.data.sources import View, check_source, is_source, num_bytes, read, take
from gon_jax.decoders import conv_decoder, conv_encoder, mlp_decoder
from gon_jax.inference import encode_dataset, in_batches, sample
from gon_jax.metrics import evaluate
from gon_jax.models import autoencoder, glo, gon, gon_classifier, translation_gon, vgon
from gon_jax.pca import pca_errors, pca_reconstructions
from gon_jax.training import fit, init_state, make_optimizer, streaming
from gon_jax.training.step import order_key
from gon_jax.training.streaming import fits_in_memory

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
LABELS = np.arange(20, dtype=np.int32) % 4
SHAPE = {"image_shape": (8, 8, 1), "latent_shape": (3,), "base_channels": 2}


class Watched:
    """A source that counts what is read of it, and by how many threads."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.rows, self.threads = [], set()

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        rows = self.array[index]
        self.rows.append(len(rows))
        self.threads.add(threading.get_ident())
        return rows


def same_losses(model, data, other, num_steps=13, **options):
    """Train on both, and compare every loss and the last state."""
    options = {"batch_size": 4, "report_every": 3, "progress": False} | options
    losses: tuple[list, list] = ([], [])
    results = []
    for given, seen in ((data, losses[0]), (other, losses[1])):
        report = lambda report, seen=seen: seen.append(report.losses)  # noqa: E731
        results.append(fit(model, given, num_steps, jax.random.key(0), on_report=report, **options))
    a, b = (np.concatenate(seen) for seen in losses)
    assert len(a) == num_steps
    np.testing.assert_array_equal(a, b)
    for x, y in zip(*(jax.tree.leaves(result.state._replace(key=None)) for result in results), strict=True):
        np.testing.assert_array_equal(x, y)
    return results[1]


# -- sources ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def memory_map(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{i:02}.png" for i in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    return paths


def test_what_a_source_is(memory_map):
    for data in (memory_map, memory_map[3:], Watched(IMAGES), View(IMAGES)):
        assert is_source(data)
    for data in (IMAGES, memory_map[[1, 2]], memory_map + 1, jax.numpy.zeros(3), [IMAGES], "images"):
        assert not is_source(data)


def test_rows_of_a_view(memory_map):
    for source in (memory_map, Watched(IMAGES)):
        view = take(source, [7, 5, 5, 3, 19])
        expected = IMAGES[[7, 5, 5, 3, 19]]
        assert view.shape == expected.shape and len(view) == 5 and view.ndim == 4 and num_bytes(view) == expected.nbytes
        for index in (slice(None), slice(1, 4), np.array([4, 0, 0]), np.arange(5) > 2, np.array([], int), -1):
            np.testing.assert_array_equal(view[index], expected[index])
        np.testing.assert_array_equal(take(view, slice(1, None, 2))[:], expected[1::2])
        np.testing.assert_array_equal(take(view, np.array([4, 1]))[:], expected[[4, 1]])
        np.testing.assert_array_equal(view, expected)
        assert type(view[1:3]) is np.ndarray


def test_take_reads_nothing():
    source = Watched(IMAGES)
    assert take(take(source, slice(10)), [1]).shape == (1, 8, 8, 1) and not source.rows


def test_integers_are_read_in_ascending_order_and_once():
    """As HDF5 needs them."""

    class Strict(Watched):
        def __getitem__(self, index):
            assert isinstance(index, slice) or (np.diff(index) > 0).all()
            return super().__getitem__(index)

    source = Strict(IMAGES)
    np.testing.assert_array_equal(View(source)[np.array([9, 2, 9, 4])], IMAGES[[9, 2, 9, 4]])
    assert source.rows == [3]


def test_read_up_to_a_limit(memory_map):
    assert read(memory_map, limit=IMAGES.nbytes - 1) is memory_map and read(IMAGES) is IMAGES
    array = read(memory_map)
    assert type(array) is np.ndarray and array.flags.writeable
    np.testing.assert_array_equal(array, IMAGES)
    np.testing.assert_array_equal(read(take(memory_map, [3, 1])), IMAGES[[3, 1]])


def test_changes_of_a_memory_map_survive(tmp_path):
    """Those of mode "c" are in this process alone, and would be lost by giving its memory back."""
    np.save(tmp_path / "images.npy", IMAGES)
    for mode in ("c", "r+"):
        array = np.load(tmp_path / "images.npy", mmap_mode=mode)
        array[5] = 7
        assert (View(array)[4:6][1] == 7).all() and (array[5] == 7).all()


def test_a_source_is_checked_without_reading():
    source = Watched(IMAGES)
    assert check_source(source, (8, 8, 1)).source is source and not source.rows
    with pytest.raises(ValueError, match=r"got \[20, 8, 8, 1\]"):
        check_source(source, (4, 4, 1))
    with pytest.raises(ValueError, match="expected uint8 or floats"):
        check_source(Watched(IMAGES.astype(np.int32)), (8, 8, 1))
    floats = View(Watched(IMAGES.astype(np.float32)))
    assert check_source(floats, (8, 8, 1)) is floats
    with pytest.raises(ValueError, match="divide by 255"):
        floats[:2]
    np.testing.assert_allclose(View(Watched(IMAGES / 255))[:], IMAGES / 255)


def test_pictures_are_those_of_read_images(pictures):
    for data_shape in ((8, 8, 1), (6, 4, 3)):
        source = FileSource(pictures, data_shape)
        expected = read_images(pictures, data_shape)
        np.testing.assert_array_equal(source[:], expected)
        np.testing.assert_array_equal(source[np.array([3, 1])], expected[[3, 1]])
        np.testing.assert_array_equal(read(source), expected)
    pictures[2].write_bytes(b"no picture")
    with pytest.raises(ValueError, match="02.png, which cannot be read"):
        source[1:4]
    for paths, shape, words in (([], (8, 8, 1), "at least one"), (pictures, (8, 8), r"\(H, W, 1\)")):
        with pytest.raises(ValueError, match=words):
            FileSource(paths, shape)


def test_records():
    class Records:
        def __init__(self):
            self.contents = []
            for image in IMAGES:
                Image.fromarray(image[..., 0]).save(file := io.BytesIO(), "png")
                self.contents.append(file.getvalue())

        def __len__(self):
            return len(self.contents)

        def __getitems__(self, index):
            return [{"image": self.contents[i], "label": LABELS[i]} for i in index]

    source = RecordSource(Records(), "image", (8, 8, 1), name="a:1.0.0/train")
    np.testing.assert_array_equal(source[:], IMAGES)
    np.testing.assert_array_equal(source[np.array([3, 1])], IMAGES[[3, 1]])
    np.testing.assert_array_equal(source.column("label"), LABELS)
    assert source.fingerprint() != RecordSource(Records(), "image", (8, 8, 3), name="a:1.0.0/train").fingerprint()
    with pytest.raises(ValueError, match="name of the records"):
        RecordSource(Records(), "image", (8, 8, 1)).fingerprint()


def test_a_cache_is_written_once_and_anew_where_its_files_change(pictures, tmp_path, monkeypatch):
    path, decoded = tmp_path / "kept" / "cache.npy", []
    rows = FileSource.__getitem__
    monkeypatch.setattr(FileSource, "__getitem__", lambda self, index: decoded.append(1) or rows(self, index))

    def values(data_shape=(8, 8, 1)):
        decoded.clear()
        array = cached(FileSource(pictures, data_shape), path)
        assert isinstance(array, np.memmap) and is_source(array)
        return np.array(array)

    np.testing.assert_array_equal(values(), IMAGES)
    assert decoded
    np.testing.assert_array_equal(values(), IMAGES)
    assert not decoded
    assert values((4, 4, 3)).shape == (20, 4, 4, 3) and decoded
    values()
    Image.fromarray(255 - IMAGES[3, ..., 0]).save(pictures[3])
    os.utime(pictures[3], (1, 1))
    np.testing.assert_array_equal(values()[3], 255 - IMAGES[3])
    path.write_bytes(path.read_bytes()[:300])  # damaged
    np.testing.assert_array_equal(values()[3], 255 - IMAGES[3])
    pictures[2].write_bytes(b"no picture")
    with pytest.raises(ValueError, match="02.png"):
        values()
    assert sorted(os.listdir(path.parent)) == ["cache.npy", "cache.npy.json"]


# -- training --------------------------------------------------------------------------------------------------------

MODELS = {
    "gon": lambda: gon(conv_decoder(**SHAPE, norm="none"), step_size=1 / 64),
    "batch": lambda: gon(conv_decoder(**SHAPE, norm="batch")),
    "vgon": lambda: vgon(conv_decoder(**SHAPE)),
    "autoencoder": lambda: autoencoder(conv_decoder(**SHAPE), conv_encoder(**SHAPE)),
    "glo": lambda: glo(conv_decoder(**SHAPE)),
    "classifier": lambda: gon_classifier(conv_decoder(**SHAPE), 4),
    "translation": lambda: translation_gon(conv_decoder(**SHAPE)),
}


@pytest.mark.quick("gon", "batch")
@pytest.mark.parametrize("name", MODELS)
def test_streaming_is_training_in_memory(name):
    """Bit for bit: losses, parameters, statistics, and latents that are kept for each example."""
    extra = {"classifier": {"y": LABELS}, "translation": {"target": Watched(255 - IMAGES)}}.get(name, {})
    data = {"x": IMAGES} | {key: getattr(a, "array", a) for key, a in extra.items()}
    result = same_losses(MODELS[name](), data, {"x": Watched(IMAGES)} | extra, ema_decay=0.9)
    assert 0 < result.seconds_waiting <= result.seconds_training


def test_chunks_threads_and_reports_change_nothing(monkeypatch):
    """Whatever is read at once, by whomever, and wherever it is cut: across epochs (of 5 steps) too."""
    model = MODELS["gon"]()
    for num_threads, most in ((1, 1), (3, 600), (7, 2**20)):
        monkeypatch.setattr(streaming, "CHUNK_BYTES", most)
        options = {"num_threads": num_threads, "validate_every": 4, "validation": take(Watched(IMAGES), slice(6))}
        same_losses(model, IMAGES, Watched(IMAGES), **options)


def test_resumed_training_goes_on_as_if_never_interrupted():
    model, options = MODELS["glo"](), {"batch_size": 4, "report_every": 3, "progress": False}
    whole = fit(model, IMAGES, 13, jax.random.key(0), **options).state
    answers = [False, False, True]
    first = fit(model, Watched(IMAGES), 13, jax.random.key(0), should_stop=lambda: answers.pop(0), **options)
    assert first.interrupted and int(first.state.step) == 5
    resumed = fit(model, Watched(IMAGES), 13, state=first.state, num_threads=1, **options)
    for x, y in zip(*(jax.tree.leaves(s._replace(key=None)) for s in (whole, resumed.state)), strict=True):
        np.testing.assert_array_equal(x, y)


def test_only_batches_are_read_and_by_threads_ahead():
    source = Watched(IMAGES)
    fit(MODELS["gon"](), source, 6, jax.random.key(0), batch_size=4, num_threads=2, progress=False)
    assert source.rows.pop(0) == 8  # the first latents are looked at
    assert source.rows == [4] * 6 and threading.get_ident() in source.threads and len(source.threads) <= 3


def test_what_is_kept_in_memory(memory_map):
    size = IMAGES.nbytes
    for data in (IMAGES, memory_map, View(memory_map), jax.numpy.asarray(IMAGES)):
        assert fits_in_memory({"x": data})
    assert fits_in_memory({"x": memory_map}, size) and not fits_in_memory({"x": memory_map}, size - 1)
    assert not fits_in_memory({"x": IMAGES}, size - 1) and not fits_in_memory({"x": IMAGES, "y": LABELS}, size)
    assert fits_in_memory({"x": jax.numpy.asarray(IMAGES)}, 0)
    assert not fits_in_memory({"x": Watched(IMAGES)}, 2 * size)


@pytest.mark.parametrize("limit, words", [(None, "0 MB in memory"), (100, "0 MB read as needed")])
def test_the_bar_says_where_the_data_are(memory_map, terminal, capsys, limit, words):
    result = fit(MODELS["gon"](), memory_map, 3, jax.random.key(0), batch_size=4, memory_limit=limit)
    assert words in capsys.readouterr().err
    assert (result.seconds_waiting > 0) == (limit is not None)


def test_memory_maps_above_the_limit_and_arrays_train_alike(memory_map):
    same_losses(MODELS["gon"](), IMAGES, memory_map)
    same_losses(MODELS["gon"](), IMAGES, memory_map, memory_limit=100)


def test_types_that_a_device_does_not_hold_are_converted_alike():
    data = {"x": IMAGES / 255, "y": LABELS.astype(np.int64)}  # 64 bits
    same_losses(MODELS["classifier"](), data, data | {"x": Watched(data["x"])}, num_steps=4)


def test_an_hdf5_dataset_is_a_source(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "images.h5", "w") as file:
        same_losses(MODELS["gon"](), IMAGES, file.create_dataset("images", data=IMAGES), num_steps=4)


def test_floats_out_of_range_and_damaged_files_stop_training(pictures):
    model, options = MODELS["gon"](), {"batch_size": 4, "progress": False}
    floats = IMAGES / np.float32(255)
    same_losses(model, floats, Watched(floats))
    floats[11] = np.nan
    with pytest.raises(ValueError, match="expected finite values"):
        fit(model, Watched(floats), 13, jax.random.key(0), **options)
    pictures[11].write_bytes(b"no picture")
    with pytest.raises(ValueError, match="11.png, which cannot be read"):
        fit(model, FileSource(pictures, (8, 8, 1)), 13, jax.random.key(0), **options)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_threads": 0}, "num_threads, a whole number of at least 1"),
        ({"batch_size": 21}, "batch_size, a whole number from 1 to 20"),
    ],
)
def test_bad_options_are_refused(options, words):
    source = Watched(IMAGES)
    with pytest.raises(ValueError, match=words):
        fit(MODELS["gon"](), source, 3, jax.random.key(0), progress=False, **{"batch_size": 4} | options)
    assert not source.rows


def test_without_grain(monkeypatch):
    """It is asked for by those who need it, and by no one else."""
    monkeypatch.setitem(sys.modules, "grain", None)
    fit(MODELS["gon"](), IMAGES, 2, jax.random.key(0), batch_size=4, progress=False)
    with pytest.raises(ImportError, match=r"expected grain.*pip install 'gon_jax\[data\]'"):
        fit(MODELS["gon"](), Watched(IMAGES), 2, jax.random.key(0), batch_size=4, progress=False)


PROCESS = """
    import json, sys
    process, count, port = map(int, sys.argv[1:])
    import jax, numpy as np
    if count > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", count, process)
    from gon_jax.data.sources import View
    from gon_jax.decoders import conv_decoder
    from gon_jax.models import glo, gon
    from gon_jax.training import fit

    class Counted(View):
        num = 0

        def __getitem__(self, index):
            rows = super().__getitem__(index)
            self.num += len(rows)
            return rows

    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    options = {"batch_size": 4, "report_every": 3, "progress": False, "validation": images[:5], "validate_every": 4}
    for make, norm in ((gon, "batch"), (glo, "none")):
        model, source = make(conv_decoder((8, 8, 1), (3,), base_channels=2, norm=norm)), Counted(images)
        result = fit(model, source, 7, jax.random.key(0), **options)
        print("RESULT", json.dumps([source.num, [list(row.values()) for row in result.history]]))
"""


@pytest.mark.slow
def test_several_processes_read_their_shares_and_train_as_one():
    """Over gloo: batch statistics, and latents that are kept, are those of the whole batch."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]

    def start(process, count):
        command = [sys.executable, "-c", textwrap.dedent(PROCESS), *map(str, (process, count, port))]
        quick = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # to compile
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quick)

    processes = [start(0, 1), start(0, 2), start(1, 2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    lines = [[line for line in out.splitlines() if line.startswith("RESULT")] for out, _ in outputs]
    one, first, second = ([json.loads(line.removeprefix("RESULT")) for line in each] for each in lines)
    for (read_alone, alone), (read_first, of_first), (read_second, of_second) in zip(one, first, second, strict=True):
        assert read_alone - read_first == read_alone - read_second == 7 * 2
        assert of_first == of_second
        for a, b in zip(alone, of_first, strict=True):
            assert a == pytest.approx(b, rel=1e-5)


# -- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.quick("running-gon", "batch-classifier")
@pytest.mark.parametrize("name", ["gon", "vgon", "classifier", "translation"])
@pytest.mark.parametrize("evaluation", ["running", "batch"])
def test_metrics_are_those_of_arrays(name, evaluation):
    model, source = MODELS[name](), Watched(IMAGES)
    variables = model.init(jax.random.key(0))
    extra = {"classifier": {"y": LABELS}, "translation": {"target": 255 - IMAGES}}.get(name, {})
    options = {"evaluation": evaluation, "batch_size": 6}
    expected = evaluate(model, variables, {"x": IMAGES} | extra, **options)
    assert evaluate(model, variables, {"x": source} | extra, **options) == expected
    assert max(source.rows) <= 6
    assert sum(source.rows) <= 20 * 2 + 1  # once for each kind of metric


def test_latents_and_samples_are_those_of_arrays(monkeypatch):
    model, source = MODELS["gon"](), Watched(IMAGES)
    variables = model.init(jax.random.key(0))
    np.testing.assert_array_equal(encode_dataset(model, variables, source), encode_dataset(model, variables, IMAGES))
    monkeypatch.setattr("gon_jax.inference.tasks.MAX_PRIOR_LATENTS", 10)
    source.rows.clear()
    samples = sample(model, variables, source, 3, jax.random.key(0), prior="gaussian")
    np.testing.assert_array_equal(samples, sample(model, variables, IMAGES, 3, jax.random.key(0), prior="gaussian"))
    assert sum(source.rows) == 10


def test_batches_of_sources():
    source = Watched(IMAGES)
    sums = in_batches(lambda batch: batch["a"].sum((1, 2, 3)) + batch["b"].sum((1, 2, 3)), {"a": source, "b": source})
    np.testing.assert_array_equal(sums, 2 * IMAGES.sum((1, 2, 3)))
    assert source.rows == [20]  # once, and not to fill up the batch


def test_pca_of_a_source_is_that_of_an_array_and_of_a_sample_close(monkeypatch):
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 48))
    x = 1 / (1 + np.exp(-rng.normal(size=(2000, 6)) @ mix / 3 - 0.2 * rng.normal(size=(2000, 48))))
    x = x.reshape(-1, 4, 4, 3).astype(np.float32)
    train, test = x[:1500], x[1500:]
    expected = pca_reconstructions(train, test, 6)
    np.testing.assert_array_equal(pca_reconstructions(Watched(train), test, 6), expected)
    np.testing.assert_array_equal(pca_reconstructions(train, Watched(test), 6), expected)
    errors = pca_errors(train, test, 6)
    assert errors["squared_error"] == pytest.approx(np.square(test - expected).reshape(500, -1).sum(1).mean(), rel=1e-5)
    assert pca_errors(Watched(train), Watched(test), 6) == errors

    monkeypatch.setattr("gon_jax.pca.NUMBERS", 0)
    monkeypatch.setattr("gon_jax.pca.SOURCE_NUMBERS", 0)
    monkeypatch.setattr("gon_jax.pca.SAMPLE_NUMBERS", 600 * 48)
    source = Watched(train)
    sampled = pca_errors(source, test, 6)
    assert sum(source.rows) == 512 and sampled == pca_errors(train, test, 6)
    assert errors["squared_error"] < sampled["squared_error"] < 1.05 * errors["squared_error"]


PROGRAM = """
    import sys
    import jax, numpy as np
    from gon_jax import metrics, pca
    from gon_jax.data.sources import take
    from gon_jax.decoders import conv_decoder
    from gon_jax.models import gon
    from gon_jax.training import fit

    images = np.load(sys.argv[1], mmap_mode="r")
    train, test = take(images, slice(2000, None)), take(images, slice(2000))
    model = gon(conv_decoder((64, 64, 3), (8,), base_channels=2))
    options = {"memory_limit": 2**20, "report_every": 10, "validate_every": 20, "progress": False}
    result = fit(model, train, 40, jax.random.key(0), validation=test, **options)
    metrics.evaluate(model, result.state.variables, take(images, slice(0, None, 10)))
    pca.SAMPLE_NUMBERS = 2**24  # to save time
    pca.pca_errors(train, test, 8)
    with open("/proc/self/status") as file:  # ru_maxrss would be that of the process which started this one, if larger
        print(next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_bounded(tmp_path):
    """2 GB of images, sparse on disk: trained on and evaluated in a process that never has 1.2 GiB."""
    path = tmp_path / "images.npy"
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (170_000, 64, 64, 3))
    images[::1000] = np.random.default_rng(0).integers(0, 256, (170, 64, 64, 3), dtype=np.uint8)
    images.flush()
    assert path.stat().st_size > 2e9
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), path]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 1.2


@pytest.mark.slow
def test_the_benchmark_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compile fast
    input_pipeline.main(["--smoke", "--results", str(tmp_path)])
    result = json.loads((tmp_path / "input_pipeline_smoke.json").read_text())
    assert {"command", "commit", "versions", "hardware", "date"} <= set(result) and result["versions"]["grain"]
    (row,) = result["reading"]
    assert list(row["sides"]) == ["ours, files", "ours, cached", "Pillow, threads"]
    for epochs in row["sides"].values():
        assert len(epochs) == 2 and all(epoch["images_per_second"] > 0 for epoch in epochs)
    assert result["waiting"].keys() == {"files", "cached", "in memory"}
    assert 0 < result["waiting"]["files"]["share_waiting"] <= 1 and result["waiting"]["in memory"]["share_waiting"] == 0
    assert [row["bytes"] for row in result["memory"]] == [2_000_000, 20_000_000]
    assert all(row["peak_bytes"] > 0 and row["steps_per_second"] > 0 for row in result["memory"])
    assert "| ours, files | 1 | " in capsys.readouterr().out


def test_labels_in_a_source_are_read_as_they_are():
    """Whole numbers that are not bytes are labels; only floats are checked when they are read."""
    labels = View(np.arange(10) * 1000)
    np.testing.assert_array_equal(labels[np.array([9, 2])], [9000, 2000])
    with pytest.raises(ValueError, match="expected floats in"):
        View(Watched(np.full((4, 2, 2, 1), 7.0)))[:2]


# -- iterators of batches ----------------------------------------------------------------------------------------------


def tiny():
    return gon(mlp_decoder(IMAGES.shape[1:], (2,), hidden_dim=4))


def batches_of(images, key, num_epochs=3):
    """The batches of training on the images themselves, by anybody's iterator."""
    key = init_state(tiny(), make_optimizer(), key).key
    for epoch in range(num_epochs):
        for index in np.asarray(epoch_order(order_key(key), epoch, len(images), 4)):
            yield images[index]


def test_an_iterator_of_the_same_batches_gives_the_same_bits():
    model, key = tiny(), jax.random.key(3)
    options = {"progress": False, "report_every": 4, "validation": IMAGES}
    expected = fit(model, IMAGES, 11, key, batch_size=4, validate_every=11, **options)
    ours = fit(model, batches_of(IMAGES, key), 11, key, **options)
    assert ours.history == expected.history and not ours.interrupted
    for a, b in zip(jax.tree.leaves(ours.state.params), jax.tree.leaves(expected.state.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_iterator_is_read_no_further_than_training_goes():
    taken = itertools.count()
    batches = (IMAGES[:4] for _ in zip(range(100), taken, strict=False))
    fit(tiny(), batches, 7, jax.random.key(0), progress=False, report_every=3)
    assert next(taken) == 7


def test_an_iterator_that_ends_early_ends_training_with_a_warning():
    batches = itertools.islice(batches_of(IMAGES, jax.random.key(0)), 7)
    with pytest.warns(UserWarning, match="expected batches for 20 steps, got an iterator that ended after 7"):
        result = fit(tiny(), batches, 20, jax.random.key(0), progress=False, report_every=5, validation=IMAGES)
    assert result.interrupted and int(result.state.step) == 7
    assert [row["step"] for row in result.history] == [5, 7] and "validation.squared_error" in result.history[-1]


@pytest.mark.parametrize(
    "batches, options, words",
    [
        ([], {}, "at least one batch, got an iterator that has ended"),
        ([IMAGES[:4], IMAGES[:2]], {}, "batches like the first, .* as number 2: leave out the last"),
        ([IMAGES[:4].astype(int)], {}, "expected uint8 or floats"),
        ([IMAGES[:4, :2]], {}, "expected images"),
        ([IMAGES[:4] / np.float32(100)], {}, r"expected floats in \[0, 1\]"),
        ([{"x": IMAGES[:4], "index": np.arange(4)}], {}, 'no array "index" in the data'),
        ([IMAGES[:4]], {"batch_size": 8}, "expected batch_size, 4, got 8: that of the iterator's batches"),
    ],
)
def test_what_is_no_batch_is_refused(batches, options, words):
    with pytest.raises(ValueError, match=words):
        fit(tiny(), iter(batches), 3, jax.random.key(0), progress=False, **options)


def test_latents_of_training_examples_need_the_examples():
    with pytest.raises(ValueError, match="a latent for each example, got an iterator"):
        fit(glo(mlp_decoder(IMAGES.shape[1:], (2,), hidden_dim=4)), iter([IMAGES[:4]]), 3, jax.random.key(0))


def test_a_classifier_is_trained_on_batches_with_labels():
    model = gon_classifier(mlp_decoder(IMAGES.shape[1:], (2,), hidden_dim=4), 4)
    key = jax.random.key(0)
    index = np.asarray(epoch_order(order_key(init_state(tiny(), make_optimizer(), key).key), 0, 20, 4))
    batches = ({"x": IMAGES[i], "y": LABELS[i].astype(np.int64)} for i in index)
    ours = fit(model, batches, 5, key, progress=False)
    expected = fit(model, {"x": IMAGES, "y": LABELS}, 5, key, batch_size=4, progress=False)
    assert ours.history == expected.history
    with pytest.raises(ValueError, match='labels "y" from 0 to 3'):
        fit(model, iter([{"x": IMAGES[:4], "y": np.array([0, 1, 2, 4])}]), 1, key, progress=False)
