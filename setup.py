"""Map the folders of the repository to one top-level package, `attention_harness`."""

from pathlib import Path

from setuptools import setup

ROOTS = {
    "attention_harness": "harness",
    "attention_harness.reference": "reference",
    "attention_harness.implementations": "implementations",
}


def packages():
    """Return every package below the mapped folders: a folder that holds an `__init__.py`."""
    for name, folder in ROOTS.items():
        for found in sorted(Path(folder).rglob("__init__.py")):
            yield ".".join((name, *found.parent.relative_to(folder).parts))


setup(packages=list(packages()), package_dir=ROOTS)
