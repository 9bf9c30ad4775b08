"""Builders for tensorflow-datasets that prepare a dataset as its catalog does, but without TensorFlow.

Downloading and unpacking are done here: tfds does not verify an earlier download, tries for minutes without a network,
unpacks with TensorFlow, and confuses files of the same name in two datasets. It writes the records and their order.
"""

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import requests
import tensorflow_datasets as tfds
from PIL import Image

from gon_jax._files import one_line, write_file
from gon_jax.progress import bar

__all__ = ["BUILDERS"]


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Verified originals, and examples made of `(image, label, *more)` tuples."""

    URL: str
    SHA256: dict[str, str]  # by name of an original file, of what `_digest` takes of it
    SHAPE: tuple[int, int, int]
    CLASSES: list[str] | int = 10  # names, or how many
    MORE: dict[str, tfds.features.FeatureConnector] = {}  # features besides image and label
    url_infos = None  # to look for checksum files, tfds would need importlib_resources, which it does not install

    def __init_subclass__(cls):
        super().__init_subclass__(skip_registration=True)

    def prepare(self, manual_dir: str | os.PathLike[str] | None) -> None:
        """Prepare the dataset from the originals in `manual_dir`, or from downloaded ones."""
        self.download = manual_dir is None  # into a folder per dataset: MNIST and Fashion-MNIST name files alike
        downloads = Path(self.data_dir).parents[1] / "downloads" / self.name
        self.folder = downloads if manual_dir is None else Path(manual_dir).expanduser()
        with contextlib.redirect_stdout(io.StringIO()):  # tfds announces itself there; its progress bars are on stderr
            self.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))

    def _info(self):
        classes: dict[str, Any] = {"num_classes" if isinstance(self.CLASSES, int) else "names": self.CLASSES}
        features = {"image": tfds.features.Image(shape=self.SHAPE), "label": tfds.features.ClassLabel(**classes)}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            supervised_keys=("image", "label"),
            features=tfds.features.FeaturesDict(self.MORE | features),
        )

    def _split_generators(self, dl_manager):
        originals = {file: self._original(self.folder / file) for file in self.SHA256}
        return {split: self._generate_examples(originals, split) for split in ("train", "test")}

    def _examples(self, originals: dict[str, Path], split: str) -> Iterable[tuple[Any, ...]]:
        """Return the examples of a split, in the order in which they are written."""
        raise NotImplementedError

    def _generate_examples(self, originals, split):
        for index, (image, label, *more) in enumerate(self._examples(originals, split)):
            Image.fromarray(image).save(png := io.BytesIO(), "png")
            example = dict(zip(self.MORE, more, strict=True))
            yield index, {**example, "image": png.getvalue(), "label": int(label)}  # the key fixes the order on disk

    def _original(self, path: Path) -> Path:
        """Return the path of an original file, downloaded if it has to be, once it is verified."""
        if not path.is_file():
            try:
                if not self.download:
                    raise FileNotFoundError(f"no {path.name} there")
                _download(self.URL + path.name, path)
            except OSError as error:  # those of requests too
                raise FileNotFoundError(
                    f"expected {self.name} from {self.URL} in {path.parent}, got {one_line(error)}: set GON_DATA_DIR "
                    f"to a folder that has it prepared, or get {', '.join(self.SHA256)} into a folder and call "
                    f"gon_jax.data.prepare({self.name!r}, data_dir, manual_dir=folder)"
                ) from error
        try:
            found = self._digest(path)
        except Exception as error:  # zipfile, Pillow and numpy each have their own
            found = one_line(error)
        if found != (expected := self.SHA256[path.name]):
            if self.download:
                path.unlink()
            raise ValueError(
                f"expected {path} to be {self.name}'s {path.name} with SHA-256 {expected}, got {found}, so it is "
                f"damaged or of another dataset: {'try again' if self.download else 'replace it'} ({self.URL})"
            )
        return path

    def _digest(self, path):
        with open(path, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()


class _Mnist(_Builder):
    """Handwritten digits by Y. LeCun, C. Cortes and C. Burges: 60,000 to train, 10,000 to test."""

    name = "mnist"
    VERSION = tfds.core.Version("3.0.1")
    URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
    SHA256 = {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }
    SHAPE = (28, 28, 1)

    def _examples(self, originals, split):
        prefix = {"train": "train", "test": "t10k"}[split]
        parts = (originals[f"{prefix}-{part}-ubyte.gz"] for part in ("images-idx3", "labels-idx1"))
        return zip(*map(_read_idx, parts), strict=True)


class _FashionMnist(_Mnist):
    """Zalando's articles in the format of MNIST: 60,000 to train, 10,000 to test."""

    name = "fashion_mnist"
    URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    SHA256 = {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }
    CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class _Cifar10(_Builder):
    """Labeled subset of 80 Million Tiny Images by Krizhevsky, Nair and Hinton: 50,000 and 10,000."""

    name = "cifar10"
    VERSION = tfds.core.Version("3.0.2")
    URL = "https://www.cs.toronto.edu/~kriz/"
    SHA256 = {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}
    SHAPE = (32, 32, 3)
    CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    MORE = {"id": tfds.features.Text()}

    def _examples(self, originals, split):
        files = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
        with tarfile.open(originals["cifar-10-binary.tar.gz"]) as archive:
            members = [archive.extractfile(f"cifar-10-batches-bin/{file}") for file in files]
            contents = [cast(io.BufferedReader, member).read() for member in members]  # files, by the digest
        records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 1 + 3 * 32 * 32)  # label, planes of R, G, B
        ids = [f"{split}_{i:05d}" for i in range(len(records))]
        return zip(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0], ids, strict=True)


class _Coil20(_Builder):
    """20 objects on a turntable by S. A. Nene, S. K. Nayar and H. Murase, a picture every 5 degrees; processed.

    Every sixth angle (25, 55, ..., 355 degrees) to test, 240; the others to train, 1,200. Not in tfds's catalog.
    """

    name = "coil20"
    VERSION = tfds.core.Version("1.0.0")
    URL = "http://www.cs.columbia.edu/CAVE/databases/SLAM_coil-20_coil-100/coil-20/"
    SHA256 = {"coil-20-proc.zip": "of pixels 7274cbacb79ea6c57340827c9f9301745a8e9b3173dea4aa828e00b49c42946c"}
    SHAPE = (128, 128, 1)
    CLASSES = 20
    MORE = {"angle": tfds.features.Scalar(np.int32)}  # in degrees
    NUM_ANGLES = 72

    def _examples(self, originals, split):
        pictures = self._pictures(originals["coil-20-proc.zip"])
        for label, angle in np.ndindex(pictures.shape[:2]):
            if (angle % 6 == 5) == (split == "test"):
                yield pictures[label, angle], label, 360 // self.NUM_ANGLES * angle

    def _digest(self, path):  # archives with the same pictures differ
        return f"of pixels {hashlib.sha256(self._pictures(path).tobytes()).hexdigest()}"

    def _pictures(self, path):
        """Return the pictures by object and angle, uint8 `[20, 72, 128, 128]`."""
        with zipfile.ZipFile(path) as archive:
            members = {member.rpartition("/")[2]: member for member in archive.namelist()}
            shape = (cast(int, self.CLASSES), self.NUM_ANGLES, *self.SHAPE[:2])
            files = [archive.read(members[f"obj{i + 1}__{j}.png"]) for i, j in np.ndindex(shape[:2])]
        return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files]).reshape(shape)


BUILDERS = {builder.name: builder for builder in (_Mnist, _FashionMnist, _Cifar10, _Coil20)}


def _download(url, path):
    with requests.get(url, stream=True, timeout=30, headers={"Accept-Encoding": "identity"}) as response:
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0)) or None
        with bar(label=path.name, total=size, unit="B", unit_scale=True) as shown:
            write_file(path, lambda file: [shown.update(file.write(block)) for block in response.iter_content(2**18)])


def _read_idx(path):
    """Return a gzipped IDX file: two zero bytes, type (8: uint8), rank, one big-endian int32 per axis, values."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(np.frombuffer(data, ">i4", rank, 4))
