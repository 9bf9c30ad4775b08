"""Data above the memory limit stay in their files, and are the same data: parts, labels, values, notes, training."""

import collections
import io
import json
import shutil
import types
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

import gon_jax
from gon_jax.data import Reading, catalog, fingerprint, from_arrays, load, read_images
from gon_jax.data.mapped_files import map_arrays
from gon_jax.data.picture_sources import FileSource, RecordSource
from gon_jax.data.sources import View, is_source
from gon_jax.runs import Config, planning, train

RNG = np.random.default_rng(0)
READING = Reading()
LARGE = Reading(memory_limit=1)  # whatever is larger than a byte stays where it is
BYTES = RNG.integers(0, 256, (60, 8, 8, 3), np.uint8)
LABELS = np.array(["cat", "dog", "fox"])[np.arange(60) % 3]
TINY = {"latent_shape": (3,), "network": "mlp", "hidden_dim": 4, "num_steps": 4, "batch_size": 8, "image_size": None}


def save_hdf5(path, arrays, **options):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            array = array.astype(object) if array.dtype.kind == "U" else array
            file.create_dataset(name, data=array, **(options if array.ndim > 1 else {}))


def save_npy(path, arrays):
    np.save(path, arrays["images"])


SAVE = {
    ".npy": save_npy,
    ".npz": lambda path, arrays: np.savez(path, **arrays),
    ".h5": save_hdf5,
    "_chunked.h5": lambda path, arrays: save_hdf5(path, arrays, chunks=True, compression="gzip"),
}


def both_ways(path, reading=READING, **options):
    """Return the dataset in memory, and as sources, once all of their parts are found to be equal."""
    options = {"num_validation": None} | options
    whole, large = (
        load(path, reading=reading, **options),
        load(path, reading=reading._replace(memory_limit=1), **options),
    )
    assert whole[4:6] == large[4:6] and whole.parts().keys() == large.parts().keys()
    for name, part in whole.parts().items():
        other = large.parts()[name]
        assert isinstance(part.images, np.ndarray) and is_source(other.images) and type(part.images) is np.ndarray
        assert other.images.dtype == part.images.dtype and other.images.shape == part.images.shape
        np.testing.assert_array_equal(other.images[:], part.images)
        np.testing.assert_array_equal(other.images[np.array([1, 0])], part.images[[1, 0]])
        np.testing.assert_array_equal(other.labels, part.labels)
    assert fingerprint(large) == fingerprint(whole)
    added = [note for note in large.notes if note not in whole.notes]
    assert [note for note in large.notes if note in whole.notes] == list(whole.notes)
    assert len(added) == 1 and added[0].startswith(f"{path}: ") and added[0].endswith(" GB, read as needed")
    return whole, large


@pytest.mark.quick(".npy", "_chunked.h5")
@pytest.mark.parametrize("suffix", SAVE)
def test_a_file_of_arrays_is_the_same_data_and_trains_to_the_same(suffix, tmp_path):
    pytest.importorskip("grain")
    path = tmp_path / f"a{suffix}"
    SAVE[suffix](path, {"images": BYTES, "labels": LABELS})
    whole, _ = both_ways(path)
    if suffix != ".npy":
        assert whole.class_names == ("cat", "dog", "fox")
        assert np.bincount(whole.test.labels).tolist() == [2, 2, 2]  # of each class its share
    both_ways(path, image_size=4)
    both_ways(path, image_size=16)
    results = {}
    for memory in (None, 1e-6):
        run = tmp_path / f"run{memory}"
        summary = train(Config().replace(dataset=str(path), memory=memory, **TINY), run, progress=False, pictures=False)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        results[memory] = [summary["test.squared_error"], summary["pca.squared_error"]]
        results[memory] += [row[name] for row in rows for name in ("loss", "validation.squared_error") if name in row]
        gon_jax.load_run(run).dataset()  # unchanged, by the fingerprint
    np.testing.assert_allclose(results[None], results[1e-6], rtol=1e-6)


CONVERTED = {
    "gray": (BYTES[..., 0], {}),
    "dark": (np.arange(60 * 64).reshape(60, 8, 8) % 17, {}),
    "whole numbers": (BYTES.astype(np.int64), {}),
    "other byte order": (BYTES.astype(">i2"), {}),
    "booleans": (BYTES[..., 0] > 99, {}),
    "floats": (BYTES / 255, {}),
    "half": ((BYTES / 255).astype(np.float16), {}),
    "16 bits": (BYTES.astype(np.uint16) * 257, {"value_range": (0, 65535)}),
    "table": (np.linspace(0, 1, 300).reshape(60, 5), {}),
    "standardized": (RNG.uniform(-3, 3, (60, 5)), {"value_range": (-4, 4)}),
    "audio": (RNG.uniform(0, 1, (60, 50, 1)).astype(np.float32), {}),
    "voxels": (BYTES[:, :3, :3, :] > 99, {"kind": "voxels"}),
}


@pytest.mark.parametrize("name", CONVERTED)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_numbers_of_any_type_are_converted_as_they_are_read(name, suffix, tmp_path):
    array, reading = CONVERTED[name]
    SAVE[suffix](tmp_path / f"a{suffix}", {"images": array})
    whole, large = both_ways(tmp_path / f"a{suffix}", Reading(**reading))
    assert any("almost black" in note for note in large.notes) == (name == "dark")
    assert whole.train.images.dtype == (np.float32 if array.ndim < 3 or name == "audio" else np.uint8)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (BYTES > 200, None),
        ((BYTES > 200).astype(np.uint8), "got only 0 and 1"),
        (BYTES.astype(int) * 200, r"integers in 0..255, got values from 0 to 51000: .*value_range=\(0, 65535\)"),
        (BYTES / 100, r"floats in \[0, 1\], got values from 0 to 2.55: divide by 255, or say .*\(0, 2.55\)"),
        (BYTES / 2.55e5, r"floats that use \[0, 1\]"),
        (BYTES.transpose(0, 3, 1, 2), "channels first"),
        (np.where(np.arange(60)[:, None] == 41, np.nan, 0.5), "first in number 41"),
        (BYTES[..., 0] * 1j, "expected real numbers, got complex128"),
    ],
)
def test_what_is_refused_in_memory_is_refused_out_of_it(array, words, tmp_path):
    np.save(tmp_path / "a.npy", array)
    if words is None:
        load(tmp_path / "a.npy", reading=LARGE)
        return
    for reading in (Reading(), LARGE):
        with pytest.raises(ValueError, match=words) as error:
            load(tmp_path / "a.npy", reading=reading)
        assert str(error.value).endswith("a.npy)") and "\n" not in str(error.value)


def test_parts_of_a_file_stay_apart(tmp_path):
    arrays = {
        "x_train": BYTES[:40],
        "y_train": LABELS[:40],
        "x_val": BYTES[40:50],
        "x_test": BYTES[50:],
        "seed": np.ones(3),
    }
    for suffix in (".npz", ".h5"):
        SAVE[suffix](tmp_path / f"a{suffix}", arrays)
        _, large = both_ways(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(large.validation.images[:], BYTES[40:50])
        assert f"{tmp_path / f'a{suffix}'}: left out, being neither data nor labels: seed [3]" in large.notes


def test_members_of_an_npz_are_mapped_where_they_lie(tmp_path):
    arrays = {"images": np.asfortranarray(BYTES), "labels": LABELS, "none": np.zeros((0, 3)), "one": np.float32(3)}
    np.savez(tmp_path / "a.npz", **arrays)
    mapped = map_arrays(tmp_path / "a.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(mapped[name], array)
    assert is_source(mapped["images"]) and isinstance(mapped["images"], np.memmap)
    contents = bytearray((tmp_path / "a.npz").read_bytes())
    contents[5000] ^= 1  # a pixel
    (tmp_path / "a.npz").write_bytes(contents)
    with pytest.raises(ValueError, match="BadZipFile: Bad CRC-32 for file 'images.npy'"):
        load(tmp_path / "a.npz", reading=LARGE)


def test_a_compressed_member_is_refused_with_the_remedy(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=BYTES)
    with pytest.raises(ValueError, match=r"expected arrays that are not compressed.*a.npz: store them with"):
        load(tmp_path / "a.npz", reading=LARGE)
    np.savez(tmp_path / "b.npz", images=BYTES)
    np.savez_compressed(tmp_path / "c.npz", labels=np.arange(60) % 3)
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as archive, zipfile.ZipFile(tmp_path / "c.npz") as other:
        archive.writestr("labels.npy", other.read("labels.npy"), zipfile.ZIP_DEFLATED)
    dataset = load(tmp_path / "b.npz", reading=Reading(memory_limit=1000))  # small enough to be read
    assert is_source(dataset.train.images) and np.bincount(dataset.test.labels).tolist() == [2, 2, 2]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_python_objects_are_never_mapped(suffix, tmp_path):
    """Mapped, their bytes would be taken for addresses."""
    path = tmp_path / f"a{suffix}"
    arrays = {"images": np.full((40, 8, 8, 1), 99, np.uint8), "labels": np.array([{}] * 40, object)}
    np.savez(path, **arrays) if suffix == ".npz" else np.save(path, arrays["labels"])
    for reading in (LARGE, Reading()):
        with pytest.raises(ValueError, match=r"expected numbers in .*cannot be read .*([Oo]bject|pickle)"):
            load(path, reading=reading)
    with pytest.raises(ValueError, match="objects of Python|Python objects"):
        map_arrays(path)


def test_sources_at_hand_above_the_limit_stay_sources(tmp_path):
    np.save(tmp_path / "a.npy", BYTES)
    images = np.load(tmp_path / "a.npy", mmap_mode="r")
    whole, large = from_arrays(images, LABELS), from_arrays(images, LABELS, reading=LARGE)
    assert type(whole.train.images) is np.ndarray and isinstance(large.train.images, View)
    assert fingerprint(whole) == fingerprint(large)
    assert not isinstance(from_arrays(BYTES, reading=LARGE).train.images, View)  # it is in memory already
    assert not isinstance(from_arrays(jax.numpy.asarray(BYTES), reading=LARGE).train.images, View)


def save_pictures(folder, num=60, size=(8, 8)):
    for i in range(num):
        path = folder / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)).save(path)


def test_a_folder_of_pictures_of_one_size_needs_no_image_size(tmp_path):
    save_pictures(tmp_path / "photos", size=(6, 8))
    turned = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "photos" / "a" / "turned.png", exif=exif)
    frames = [Image.new("L", (8, 6), i) for i in range(3)]
    frames[0].save(tmp_path / "photos" / "b" / "moving.gif", save_all=True, append_images=frames[1:])
    for options in ({}, {"image_size": 4}):
        whole, large = (load(tmp_path / "photos", num_validation=5, reading=r, **options) for r in (READING, LARGE))
        for name, part in whole.parts().items():
            assert isinstance(large.parts()[name].images, View)
            np.testing.assert_array_equal(large.parts()[name].images[:], part.images)
            np.testing.assert_array_equal(large.parts()[name].names, part.names)
        assert fingerprint(whole) == fingerprint(large)
        assert [note for note in large.notes if "of pixels, read as needed" not in note] == list(whole.notes)
        assert any("1 of several frames" in note for note in whole.notes)
    Image.new("RGB", (5, 5)).save(tmp_path / "photos" / "a" / "other.png")
    for reading in (READING, LARGE):
        with pytest.raises(ValueError, match=r"expected images of one size, got 5x5 .*other.png\) and 6x8 .*: pass"):
            load(tmp_path / "photos", reading=reading)


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Return a way to prepare pictures, encoded, as a dataset of tensorflow-datasets with labels and two parts."""
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path / "gon"))

    def prepare(name, pictures, shape):
        class Fake(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("3.1.0")
            url_infos = None

            def _info(self):
                features = {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(num_classes=3)}
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, dl_manager):
                examples = [{"image": picture, "label": i % 3} for i, picture in enumerate(pictures)]
                return {"train": enumerate(examples[5:]), "test": enumerate(examples[:5]), "extra": enumerate(examples)}

            _generate_examples = None

        Fake.name = name
        Fake(data_dir=tmp_path / "gon", file_format="array_record").download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
        return tmp_path / "gon" / name / "3.1.0"

    return prepare


def encode(array, form="png"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("name", ["tfds:pictures", "coil20"])
def test_records_of_tensorflow_datasets_stay_in_their_files(name, prepared, monkeypatch):
    pytest.importorskip("array_record")
    monkeypatch.setattr(catalog, "NUM_EXAMPLES", {"coil20": (45, 5)})
    folder = prepared(name.removeprefix("tfds:"), [encode(image) for image in BYTES[:50]], (8, 8, 3))
    for size in (None, 4):
        if name == "coil20":
            both_ways(name, image_size=size)
        else:
            both_ways(name, image_size=size, num_validation=7)
    (large,) = [load(name, reading=LARGE).train]
    assert isinstance(large.images.source, RecordSource) and large.labels.shape == (45,)
    records = next(folder.glob("*-train.array_record*"))
    records.write_bytes(records.read_bytes()[:3000])
    with pytest.raises(ValueError, match="cannot be read") as error:
        load(name, reading=LARGE)
    assert "\n" not in str(error.value)


def test_choices_count_for_records_too(prepared):
    """A transparent picture is not made opaque, and 16 bits are not cut off."""
    pytest.importorskip("array_record")
    clear = np.concatenate([BYTES[:20], np.full((20, 8, 8, 1), 0, np.uint8)], 3)
    prepared("clear", [encode(image) for image in clear], (8, 8, 4))
    with pytest.raises(ValueError, match=r"expected an opaque picture.*number 0 of clear/3.1.0/train"):
        load("tfds:clear")
    for limit in (None, 1):
        dataset = load("tfds:clear", reading=Reading(background="white", memory_limit=limit))
        assert (dataset.train.images[:] == 255).all() and dataset.train.images.shape == (15, 8, 8, 3)
    wide = [encode(np.hstack([np.zeros((8, 8), np.uint8), np.full((8, 8), 200, np.uint8)]))] * 20
    prepared("wide", wide, (8, 16, 1))
    padded = load("tfds:wide", image_size=8, reading=Reading(framing="pad"))
    assert (padded.train.images[0, 0] == 0).all() and padded.train.images[0, 4, 6, 0] == 200


@pytest.mark.parametrize("suffix", SAVE)
def test_input_of_commands_is_read_whole(suffix, tmp_path):
    SAVE[suffix](tmp_path / f"a{suffix}", {"images": BYTES})
    np.testing.assert_array_equal(read_images(tmp_path / f"a{suffix}", (8, 8, 3), LARGE), BYTES)


# -- pictures that are decoded once ------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch):
    """Return the number of times that each picture was decoded, by its name."""
    counts: collections.Counter[str] = collections.Counter()
    rows = FileSource.__getitem__

    def counting(self, index):
        counts.update(self.paths[i].name for i in (range(len(self))[index] if isinstance(index, slice) else index))
        return rows(self, index)

    monkeypatch.setattr(FileSource, "__getitem__", counting)
    return counts


CONFIG = Config().replace(**TINY | {"num_steps": 24, "image_size": 8, "memory": 1e-6, "validate_every": 6})


def test_pictures_are_decoded_once_and_train_to_the_same(tmp_path, decoded, capsys):
    pytest.importorskip("grain")
    save_pictures(tmp_path / "photos")
    config = CONFIG.replace(dataset=str(tmp_path / "photos"))
    first = train(config, tmp_path / "a", pictures=False)
    assert set(decoded.values()) == {1} and len(decoded) == 60
    assert "pictures are decoded once, into" in capsys.readouterr().err
    assert not list((tmp_path / "a").glob("*decoded*"))  # removed when training is finished
    decoded.clear()
    second = train(config.replace(decode_always=True), tmp_path / "b", pictures=False)
    assert max(decoded.values()) > 3 and "pictures are decoded" not in capsys.readouterr().err
    for name in ("test.squared_error", "pca.squared_error", "mean_image.squared_error"):
        assert first[name] == second[name]
    lines = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in "ab"]
    rows = [[{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in each] for each in lines]
    assert rows[0] == rows[1]
    train(config.replace(num_steps=6), tmp_path / "c", pictures=False)  # an epoch, which reads no picture twice
    assert "pictures are decoded" not in capsys.readouterr().err


@pytest.mark.slow
def test_without_room_pictures_are_decoded_in_every_epoch(tmp_path, decoded, capsys, monkeypatch):
    pytest.importorskip("grain")
    save_pictures(tmp_path / "photos")
    free = 2 * 60 * 8 * 8 * 3
    for bytes_free, once in ((free, True), (free - 1, False)):
        usage = types.SimpleNamespace(free=bytes_free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        decoded.clear()
        config = CONFIG.replace(dataset=str(tmp_path / "photos"))
        train(config, tmp_path / f"run{once}", pictures=False)
        assert (max(decoded.values()) == 1) == once
        words = "decoded once, into" if once else "decoded in every epoch: decoded, 1.15e-05 GB, they take over half"
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_decoded_stays_for_a_run_that_goes_on(tmp_path, decoded):
    pytest.importorskip("grain")
    save_pictures(tmp_path / "photos")
    config, run = CONFIG.replace(dataset=str(tmp_path / "photos")), tmp_path / "run"
    assert train(config, run, progress=False, pictures=False, should_stop=lambda: True) is None
    assert (run / "decoded-0.npy").stat().st_size > 60 * 8 * 8 * 3
    (run / ".decoded-0.npy.7.7.partial").write_bytes(b"of a process that was killed")
    decoded.clear()
    train(config, run, progress=False, pictures=False, resume=True)
    assert not decoded and not list(run.glob("*decoded*")) and not list(run.glob(".decoded*"))
    assert train(config, run, progress=False, pictures=False, overwrite=True, should_stop=lambda: True) is None
    train(
        config.replace(decode_always=True), run, progress=False, pictures=False, resume=True
    )  # an option that may change
    assert not list(run.glob("*decoded*"))


def test_a_plan_counts_the_time_of_decoding(tmp_path, decoded):
    pytest.importorskip("grain")
    save_pictures(tmp_path / "photos")
    config = CONFIG.replace(dataset=str(tmp_path / "photos"))
    dataset = config.data.load()
    planning.plan(config, dataset, tmp_path)
    assert max(decoded.values()) == 1  # the steps are timed on what is decoded
    decoded.clear()
    planning.plan(config.replace(decode_always=True), dataset, tmp_path)
    assert max(decoded.values()) > 3
