"""Install Debian's Chromium where there is none and the package manager may be used, for `tox -e browser`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

COMMANDS = (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"])


def main() -> int:
    """Return 0: without a browser the tests are skipped, and say so."""
    if shutil.which("chromium"):
        return 0
    if not shutil.which("apt-get") or os.geteuid() != 0:
        print("There is no chromium, and it cannot be installed here: install it by hand.", file=sys.stderr)
        return 0
    for command in COMMANDS:
        if subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False).returncode:
            print(f"{' '.join(command)} failed: install chromium by hand.", file=sys.stderr)
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
