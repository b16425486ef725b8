# SPDX-License-Identifier: BSD-3-Clause
"""vmux-bench vm: what a VM's network costs, measured from outside and inside. See bench/measure/README.md."""
