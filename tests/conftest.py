"""Before anything imports torch: threads that wait must not spin, or a busy machine slows every test a hundredfold."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
