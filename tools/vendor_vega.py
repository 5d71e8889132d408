"""Fetch Vega and its expression interpreter from npm, and write what the report's page carries of them.

    python tools/vendor_vega.py            write harness/report/page/vendor, from packages whose SHA-256 stands below
    python tools/vendor_vega.py --check    say whether those files are what this script writes; needs no network

`npm pack` fetches the packages, from wherever npm is set up to find them. The version of Vega is that of vl-convert,
which compiles the charts. The other packages are parts of Vega's build: their licences belong to it.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "harness" / "report" / "page" / "vendor"

PACKAGES = {
    "vega": ("6.2.0", "aa98ba8c2141f60123e98cdac229303450b1401e5c20f4434a18431e9a9a344d"),
    "vega-interpreter": ("2.2.1", "b7a46c8bbc57ee99c10227c31dadd3e3c2a2c5638307d95436fdca9ca5334c0d"),
    "d3-array": ("3.2.5", "90139c20a9a7678badb0ddeb9aafd504c935dc24f5a53c3e61ccf866e4479572"),
    "d3-color": ("3.1.1", "a1a3e15ea444d7af2f54c890f24afd07f71d3804852e0cd95de3865529eff607"),
    "d3-delaunay": ("6.0.6", "642eef95edb32cba9b7c7d2d6dc0c201fad3f7ce4f9a45c5c13c0f253b8621d1"),
    "d3-dispatch": ("3.0.2", "a7761dc785dd08d6b3c57c92bb245b581cfe36e6a581687142a2b6f3df104b23"),
    "d3-dsv": ("3.0.2", "aec495582edab68b182e732260b9bdc4661f40cc391e93ca5d62cb303d525550"),
    "d3-force": ("3.0.1", "8e6c6ec6c684d1246eed13fc7874c32d830f4bda092877677c4718c86d511238"),
    "d3-format": ("3.1.3", "ea7eb24446771f1c68657185b831b4e0aa157b92adc5b9bb19bbe5cfcb7e30bb"),
    "d3-geo": ("3.1.2", "e0ffa43f5a2134cf03d2797e985025250d8d3608b1d90336938c9dd4d4b97dc7"),
    "d3-geo-projection": ("4.0.0", "ee0ed9071b6bd4921f9e2c18d04a283248fa3d13ff558bc936f585a2b09bf99a"),
    "d3-hierarchy": ("3.1.3", "d0c3dbb2d2fc5273e03289343b3985fadef07b3968ce53d59c957d3949f9d22a"),
    "d3-interpolate": ("3.0.2", "cd6a0769a2cef69ae18191750f5ea927c5aefc817e74d4d57866c98642ed0de9"),
    "d3-path": ("3.1.1", "024de6799bd2b8005f7ce4e3f32eec9cd019d7fc2489776c57b863d07cdb8fb1"),
    "d3-quadtree": ("3.0.2", "92db92a8f02bd86e25185833f453bb8f179e8a2ff62321461d47627df76ac9c1"),
    "d3-scale": ("4.0.3", "08acf42ba283a2197ff1f35c2c644fdbbe902cae0a8ba478590e7d2bda6b7838"),
    "d3-scale-chromatic": ("3.1.1", "52ff96282fbd5f481bd0ac76f5c1c983f2e005d3dd51614b1982a8b22859b98e"),
    "d3-shape": ("3.2.1", "ed6cec23ab111571064f38e997fe9112d0fe5624629d9190eb227ffdb752d436"),
    "d3-time": ("3.1.1", "1a81858956c04d88f06aca5afacc099d241828887d5a52fb4a69db285fdfe394"),
    "d3-time-format": ("4.1.1", "56daddd64407ca6e6631d13e16618e17b077fbd5e2a35df6994206c6dce2650d"),
    "d3-timer": ("3.0.2", "94b4d053d0061bfb7a3461234a5a14d5b3200e6dbb28d148559ed91ba787661c"),
    "delaunator": ("5.1.0", "d4654ecf8da70c86c3d92805110e7c1cbac97332d6298e04f7572ff1352d81ee"),
    "internmap": ("2.0.3", "39d1936831a4d3f2bd6e088db28a10de4458d823f652c36b2c808bf5b978c48d"),
    "robust-predicates": ("3.0.3", "54952e6a8c9e69e404f9be09bfb92a68482cf77702283399a44a689d67ba661c"),
    "topojson-client": ("3.1.0", "889fadb422f6236d0f8337a236ce6499f258b75e44b81733b13bd971067322bf"),
}
"""Package -> version, and the SHA-256 of what npm gives of it."""

WRITTEN = {
    "vega.min.js": "b67e6898f0207eb54996a2eaad3c957bf929c0caf916e3c5104ed5fc54036803",
    "vega-interpreter.js": "c0cd9fe5b1e0b4d3bc711d8d0da7264b51b2a969eca88b532568d3e43ed1745e",
    "LICENSE.txt": "f96f58ef36c480d51c29bc8094ab1084f19542d2e408874921759fe6865ff031",
}
"""File -> its SHA-256."""

IMPORT = "import { ascending, isString, DisallowedObjectProperties } from 'vega-util';"
EXPORT = "export { expression as expressionInterpreter };"
INTERPRETER = """\
/*! vega-interpreter %s: the licence is that of vega, above. Wrapped by tools/vendor_vega.py. */
(function (vega) {
const { ascending, isString, DisallowedObjectProperties } = vega;
%s
vega.expressionInterpreter = expression;
})(globalThis.vega);
"""
PREFACE = """\
vega.min.js is the build of vega {} as published, below this notice; vega-interpreter.js is the module of
vega-interpreter {}, wrapped. Both are under the licence of vega. The build holds parts of other packages:
their licences follow."""


def fetched(folder: Path) -> dict[str, Path]:
    """Return the package files that npm packs into the folder; ValueError where one is not the file known here."""
    wanted = [f"{name}@{version}" for name, (version, _) in PACKAGES.items()]
    subprocess.run(["npm", "pack", "--silent", *wanted], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = {name: folder / f"{name}-{version}.tgz" for name, (version, _) in PACKAGES.items()}
    for name, path in found.items():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != PACKAGES[name][1]:
            raise ValueError(f"{path.name} has SHA-256 {digest}; expected {PACKAGES[name][1]}")
    return found


def member(package: Path, name: str) -> str:
    """Return a text file of a package."""
    with tarfile.open(package) as archive:
        file = archive.extractfile(f"package/{name}")
        if file is None:
            raise ValueError(f"{package.name} holds no file {name}")
        return file.read().decode()


def written(packages: Mapping[str, Path]) -> dict[str, str]:
    """Return the texts to write, by file name; ValueError where one could not stand inside a page."""
    notice = licences(packages)
    module = member(packages["vega-interpreter"], "build/vega-interpreter.js")
    body, _, _ = module.partition("//# sourceMappingURL")
    for line in (IMPORT, EXPORT):
        if body.count(line) != 1:
            raise ValueError(f"vega-interpreter.js no longer has the line {line!r}")
        body = body.replace(line, "")
    texts = {
        "vega.min.js": f"/*!\n{notice}*/\n{member(packages['vega'], 'build/vega.min.js').strip()}\n",
        "vega-interpreter.js": INTERPRETER % (PACKAGES["vega-interpreter"][0], body.strip()),
        "LICENSE.txt": notice,
    }
    for name, text in texts.items():
        ends = ("</script", "<!--", *(["*/"] if name == "LICENSE.txt" else []))
        for end in ends:
            if end in text.lower():
                raise ValueError(f"{name} holds {end}: it cannot stand inside a script of the page")
    return texts


def licences(packages: Mapping[str, Path]) -> str:
    """Return the notices of all packages, each text once below the names of those that it covers."""
    covered: dict[str, list[str]] = {}
    for name, path in packages.items():
        if name != "vega-interpreter":
            covered.setdefault(member(path, "LICENSE").strip(), []).append(name)
    parts = [f"{', '.join(names)}\n\n{text}" for text, names in covered.items()]
    versions = PACKAGES["vega"][0], PACKAGES["vega-interpreter"][0]
    return f"\n\n{'-' * 80}\n\n".join([PREFACE.format(*versions), *parts]) + "\n"


def differences(folder: Path) -> list[str]:
    """Return a line for each file that is not what this script writes."""
    lines = []
    for name, digest in WRITTEN.items():
        path = folder / name
        if not path.is_file():
            lines.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            lines.append(f"{name} is not the file that this script writes")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files or check them, and return 0 if they are what they are to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing: compare what is there")
    if not parser.parse_args(arguments).check:
        with tempfile.TemporaryDirectory() as folder:
            texts = written(fetched(Path(folder)))
        FOLDER.mkdir(exist_ok=True)
        for name, text in texts.items():
            (FOLDER / name).write_bytes(text.encode())
            print(f'    "{name}": "{hashlib.sha256(text.encode()).hexdigest()}",')
    found = differences(FOLDER)
    print("\n".join(found) or "The vendored files are what this script writes.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
