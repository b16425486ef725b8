# SPDX-License-Identifier: BSD-3-Clause
"""What is read beside the traffic: counters once a second, and a profile."""
