"""`python -m harness`."""

import os
import sys

# `python -m` looks for modules in the working directory first. Only --load runs code from beside the user's files:
# without it a run directory's own numpy.py, say, must not be what a report imports.
_here, _ours = os.path.realpath(os.getcwd()), os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_loads = any(argument.startswith("--l") for argument in sys.argv)
if sys.path and os.path.realpath(sys.path[0]) == _here != _ours and not _loads:
    del sys.path[0]

from harness.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
