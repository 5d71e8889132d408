"""`python -m harness`."""

import os
import sys

# `python -m` looks for modules in the working directory first. Only --load runs code from beside the user's files:
# without it a run directory's own numpy.py, say, must not be what a report imports.
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(os.getcwd()) != os.path.realpath(_OURS):
    if not any(argument.startswith("--l") for argument in sys.argv):
        del sys.path[0]

from harness.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
