# SPDX-License-Identifier: BSD-3-Clause
"""vfu-conform: whether a vfio-user server keeps to the specification, and which clients it would break.

It speaks in raw bytes, from the specification (QEMU, docs/interop/vfio-user.rst) and from what QEMU and cloud-hypervisor
are seen to send, and uses nothing of the rest of this package: it judges our servers too.
"""
