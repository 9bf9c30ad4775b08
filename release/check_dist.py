"""Check what `make dist` built: the files of the wheel and of the source distribution, and the wheel's metadata.

python release/check_dist.py dist
"""

import email
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg"}
FIELDS = ("License-Expression", "License-File", "Requires-Python", "Summary", "Keywords")


def package_files() -> set[str]:
    """Return the files of gon_jax/ that git knows, or would know: code and data."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "gon_jax"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")) - {""}


def check_wheel(path: Path, expected: set[str]) -> None:
    """Ask that a wheel holds the package's files and its own metadata, and nothing else."""
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
        info = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(info))
        entry_points = wheel.read(info.replace("METADATA", "entry_points.txt")).decode()
    files = {name for name in names if ".dist-info/" not in name}
    assert files == expected, f"expected the files of gon_jax/, got others: {sorted(files ^ expected)[:10]}"
    assert "gon_jax/py.typed" in files and "gon = gon_jax.cli.program:program" in entry_points
    missing = [field for field in FIELDS if not metadata[field]]
    assert not missing, f"expected metadata with {missing}"
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL"))
    assert urls.keys() >= {"Source", "Documentation", "Changelog", "Issues"}, urls
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{metadata['Version']}]" in changes, f"expected {metadata['Version']} in CHANGELOG.md"


def check_source(path: Path, expected: set[str]) -> None:
    """Ask that a source distribution holds what a wheel is built from, and neither tests nor results."""
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    missing = sorted((expected | SOURCE) - names)
    assert not missing, f"expected {missing[:10]} in {path.name}"
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {"gon_jax", "gon_jax.egg-info"}, f"expected gon_jax/ in {path.name}, got {sorted(folders)}"


def main(folder: str) -> None:
    """Check the one wheel and the one source distribution of a folder."""
    expected = package_files()
    (wheel,), (source,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
    check_wheel(wheel, expected)
    check_source(source, expected)
    sizes = [f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB" for path in (wheel, source)]
    print(*sizes, f"{len(expected)} files of the package in both", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
