# SPDX-License-Identifier: BSD-3-Clause
"""What end-to-end tests stand on: guests (from lab/), the vmux daemon, and traffic between them."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BIN = ROOT / "build" / "release" / "bin"

sys.path.insert(0, str(ROOT / "lab"))
sys.path.insert(0, str(ROOT / "tests/rigs"))
