# SPDX-License-Identifier: BSD-3-Clause
"""A run as pictures and as a page."""
