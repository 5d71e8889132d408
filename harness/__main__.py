"""`python -m attention_harness`."""

import os
import sys

# `python -m` looks for modules in the working directory first. Only --load runs code from beside the user's files:
# without it a run directory's own numpy.py, say, must not be what a report imports.
_loads = any(argument.startswith("--l") for argument in sys.argv)
if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(os.getcwd()) and not _loads:
    del sys.path[0]

from attention_harness.commands.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
