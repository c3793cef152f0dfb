"""Data that cannot come with the program: read strictly from where they belong, or refused by a message that helps."""

import base64
import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from iwae_core.data import DATASETS, DataError, fashion_mnist, mnist, omniglot
from iwae_core.data.mat import matrices

# Written by scipy.io.savemat, plain and compressed: six variables, among them a text and a cell array.
SCIPY = {
    "plain": """
eNrzdQzxcXRSMNUzUPB1DNFNy8xJVaA1YIABRk9fPiCVAMRsQMwBpUGAFcpnAmJmkFIGFobyzJRUTiDbgAEdvLCH0Beg9Aco/QBKf7EH2eOAZA8n
mj3MULsYoWJJlSWpxVAxsJuYWBiZgRIgcyyQzGFBMwemH+TektSKEgEoPyM1JyefAVM/Gxb9EMzIUAF1JwfcnzIOIP0LkPQzYtHPBLU/GWgnun18
OO2DAB40c/mg4Y3Pv8j6BYCsRKg+D2R/cuD2ZxWGPz/Yo/IZwP6OQDKPHae/GRjkgDgxPi8xNzU+Py0+N78oNb4kIzEv3tgwPie1pCS1qBiiH2J+
AyiNOAAA1LU2bQ==""",
    "compressed": """
eNrzdQzxcXRSMNUzUPB1DNFNy8xJVaA1YIABRk9ffiBlCcQVcx4nJyR4MCSZKTxruKRwgOupMaOhsYCx0QaDKenLlhQx3WTjefGg1bZlH8NSe4eX
7AG/um0ZuDZxGIMMMIQbUAA2gCHJj40jofXTzMYZnB2SC5M8p6quPBpgOEGOTU3MLW0BC4OfG9MekEYduMYNUI1iYI2SC3PcFvh4Zrl2MkyZP3HW
5Mn8Sxhdn7HEg/SooumBuvaQobIz64RnLV3ODT3MDEpcjIEgxQ5wxREMR3IczjAe6eERONB1JJ3psg7PyZWWljUO21gnVdnpvJKceOaho7H4knsM
nvbcjH+ZHMKUJrAxTFvBfAZkjjbcnA8Qh15UYOKIWFjjZpGWsoLp0pyAQo4fCf2n0gsYGPwUmfpBWjzhWjqgfiuD+A0YKF6nGQuTauKS8rJq6qJq
8uoCs2o83ZLi9mxMrPHL8vTMCjR0sWe/0cJWrfCQgeFEC28/AFgTooo=""",
}
HEADER = 128  # bytes
WANTED = "wide", "bytes", "x", "a_name_of_more_than_31_letters"


@pytest.fixture(params=list(SCIPY))
def saved(request: pytest.FixtureRequest) -> bytes:
    return zlib.decompress(base64.b64decode(SCIPY[request.param]))


def test_matrices_of_a_file_that_another_program_wrote(saved: bytes) -> None:
    found = matrices(saved, WANTED, Path("file.mat"))
    assert found.keys() == set(WANTED)
    assert found["wide"].tolist() == [[0, 0.25, 0.5], [0.75, 1, 1.25]]
    assert found["bytes"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found["x"].tolist() == [[7]], "a small element"
    assert found[WANTED[3]].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["wide", "missing"], "lacks missing"), (["text"], "text does not hold real"), (["z"], "z does not hold real")],
)
def test_what_is_no_matrix_of_real_numbers_is_refused(saved: bytes, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        matrices(saved, names, Path("file.mat"))


def test_another_order_of_bytes() -> None:
    values = struct.pack(">3d", 1, 2, 3)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    found = matrices(header + array(">", "a", (1, 3), values), ["a"], Path("file.mat"))
    assert found["a"].tolist() == [[1, 2, 3]]


def test_damaged_matrices_are_refused(saved: bytes) -> None:
    for length in range(HEADER, len(saved) - 8, 7):
        with pytest.raises(DataError, match=r"file\.mat (is truncated or damaged|lacks)"):
            matrices(saved[:length], WANTED, Path("file.mat"))
    for other in b"", b"MATLAB 7.3 MAT-file", saved[:124] + b"\0\2IM" + saved[128:], saved[:126] + b"xx":
        with pytest.raises(DataError, match="not a MATLAB file of level 5"):
            matrices(other, WANTED, Path("file.mat"))


# The files of the data sets, small.

RNG = np.random.default_rng(0)
TRAIN, TEST, SIDE = 30, 20, 28


def array(order: str, name: str, shape: tuple[int, int], values: bytes) -> bytes:
    """One array of doubles, as MATLAB writes it; the values come column by column."""
    flags = struct.pack(f"{order}2I", 6, 0)
    parts = (6, flags), (5, struct.pack(f"{order}2i", *shape)), (1, name.encode()), (9, values)
    content = b"".join(
        struct.pack(f"{order}2I", kind, len(part)) + part.ljust(len(part) + -len(part) % 8, b"\0")
        for kind, part in parts
    )
    return struct.pack(f"{order}2I", 14, len(content)) + content


def mat(arrays: dict[str, NDArray[np.float64]]) -> bytes:
    """A file of such arrays."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    whole = [array("<", name, values.shape, values.astype("<f8").tobytes("F")) for name, values in arrays.items()]
    return header + b"".join(whole)


def alphabets(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.eye(50)[:, labels]


@pytest.fixture
def characters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, NDArray[np.float64]]:
    """What a small `chardata.mat` holds, in the folder that the program is told to use."""
    shapes = {name: (rows, TRAIN if "test" not in name else TEST) for name, (rows, _) in omniglot.SHAPES.items()}
    monkeypatch.setattr(omniglot, "SHAPES", shapes)
    monkeypatch.setenv("IWAE_OMNIGLOT_DIR", str(tmp_path))
    return {
        "data": RNG.random((784, TRAIN)),
        "target": alphabets(RNG.integers(0, 50, TRAIN)),
        "testdata": RNG.random((784, TEST)),
        "testtarget": alphabets(RNG.integers(0, 50, TEST)),
    }


def test_omniglot_is_upright_and_exact(characters: dict[str, NDArray[np.float64]], tmp_path: Path) -> None:
    (tmp_path / "chardata.mat").write_bytes(mat(characters))
    data = DATASETS["omniglot"]()
    assert data is DATASETS["omniglot"]()
    assert data.train.shape == (TRAIN, 784)
    for image in range(TRAIN):
        upright = characters["data"][:, image].reshape(28, 28, order="F")  # MATLAB's reshape(data(:, image), 28, 28)
        np.testing.assert_allclose(data.train[image].reshape(28, 28), 255 * upright, rtol=1e-6)
    assert data.train_labels.tolist() == characters["target"].argmax(0).tolist()
    assert data.train_mean.numpy() == pytest.approx(data.train.double().mean(0).numpy() / 255, rel=1e-5)
    # The test images are shuffled, and their labels with them.
    known = dict(zip(map(tuple, shown(characters)), characters["testtarget"].argmax(0), strict=True))
    assert [known[tuple(image)] for image in (data.test / 255).numpy().round(5)] == data.test_labels.tolist()
    assert set(data.minibatch(0, 0, 5).unique().tolist()) == {0, 1}
    assert len(data.held_out(0, 10_000)) == TEST, "all there are"


def shown(characters: dict[str, NDArray[np.float64]]) -> NDArray[np.float32]:
    upright = characters["testdata"].reshape(28, 28, TEST, order="F").transpose(2, 0, 1)
    return upright.reshape(TEST, 784).astype(np.float32).round(5)


@pytest.mark.parametrize(
    ("name", "altered", "message"),
    [
        ("data", lambda a: a[:, 1:], r"holds data of shape \(784, 29\), expected \(784, 30\)"),
        ("testdata", lambda a: a.T, r"holds testdata of shape \(20, 784\), expected \(784, 20\)"),
        ("data", lambda a: 255 * a, r"holds data outside \[0, 1\]"),
        ("testdata", lambda a: a - 0.5, r"holds testdata outside \[0, 1\]"),
        ("data", lambda a: np.where(a > 0.9, np.nan, a), r"holds data outside \[0, 1\]"),
        ("target", lambda a: 1 - a, "holds target that do not name one alphabet each"),
        ("testtarget", lambda a: a / 2, "holds testtarget that do not name one alphabet each"),
    ],
)
def test_other_characters_are_refused(
    characters: dict[str, NDArray[np.float64]],
    tmp_path: Path,
    name: str,
    altered: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    message: str,
) -> None:
    (tmp_path / "chardata.mat").write_bytes(mat(characters | {name: altered(characters[name])}))
    with pytest.raises(DataError, match=message):
        DATASETS["omniglot"]()


@pytest.fixture
def clothes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """The four files of a small Fashion-MNIST, as their authors would publish them."""
    monkeypatch.setenv("IWAE_FASHION_MNIST_DIR", str(tmp_path))
    published, files = {}, {}
    for stem, ((_, *sides), _) in fashion_mnist.FILES.items():
        count = TRAIN if "train" in stem else TEST
        values = RNG.integers(0, 256, (count, *sides)) if sides else np.arange(count) % 10
        head = bytes([0, 0, 8, 1 + len(sides)]) + struct.pack(f">{1 + len(sides)}I", count, *sides)
        files[stem] = head + values.astype(np.uint8).tobytes()
        packed = gzip.compress(files[stem], mtime=0)
        published[stem] = ((count, *sides), hashlib.md5(packed).hexdigest())
        (tmp_path / f"{stem}.gz").write_bytes(packed)
    monkeypatch.setattr(fashion_mnist, "FILES", published)
    return files


def test_fashion_mnist_has_the_names_and_sizes_of_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IWAE_FASHION_MNIST_DIR", str(tmp_path))
    with pytest.raises(DataError, match="no train-images-idx3-ubyte"):
        DATASETS["fashion_mnist"]()
    shapes = ({stem: shape for stem, (shape, _) in module.FILES.items()} for module in (fashion_mnist, mnist))
    assert next(shapes) == next(shapes)


@pytest.mark.parametrize("plain", [False, True])
def test_fashion_mnist_is_read(clothes: dict[str, bytes], tmp_path: Path, plain: bool) -> None:
    for stem, content in clothes.items():
        if plain:
            (tmp_path / f"{stem}.gz").unlink()
            (tmp_path / stem).write_bytes(content)
    data = DATASETS["fashion_mnist"]()
    train = np.frombuffer(clothes["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(TRAIN, 784)
    assert np.array_equal(data.train, train)
    assert data.train.dtype == torch.uint8
    assert data.test_labels.sort().values.tolist() == sorted([*range(10), *range(10)])


def test_other_clothes_are_refused(clothes: dict[str, bytes], tmp_path: Path) -> None:
    images, labels = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
    (tmp_path / f"{images}.gz").write_bytes(gzip.compress(clothes[images], 1, mtime=0) + gzip.compress(b"", mtime=0))
    with pytest.raises(DataError, match=f"{images}.gz is not the file that its authors publish"):
        DATASETS["fashion_mnist"]()
    (tmp_path / f"{images}.gz").unlink()
    (tmp_path / images).write_bytes(clothes[images])
    (tmp_path / labels).write_bytes(clothes[labels][:-1] + b"\0")  # found before the compressed one
    with pytest.raises(DataError, match="does not hold 10 classes of equal size; is it of another data set"):
        DATASETS["fashion_mnist"]()


@pytest.mark.parametrize(
    ("name", "variable", "files"),
    [
        ("omniglot", "IWAE_OMNIGLOT_DIR", "chardata.mat of github.com/yburda/iwae, datasets/OMNIGLOT,"),
        ("fashion_mnist", "IWAE_FASHION_MNIST_DIR", "the four files of github.com/zalandoresearch/fashion-mnist"),
    ],
)
def test_the_message_says_where_to_put_what(
    name: str, variable: str, files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(DataError, match=f"does not come with the program; put {files}.* set {variable} to it"):
        DATASETS[name]()
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(DataError, match=f"no .* in {tmp_path}; put {files}"):
        DATASETS[name]()
