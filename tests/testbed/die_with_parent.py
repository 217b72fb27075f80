"""`python die_with_parent.py PARENT COMMAND...`: become COMMAND, which the kernel kills when PARENT dies.

The setting survives `exec`. Elsewhere than on Linux the command simply runs: there it outlives a SIGKILLed parent.
"""

import os
import signal
import sys

if sys.platform == "linux":
    import ctypes

    _PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # the parent died before the setting took hold
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
