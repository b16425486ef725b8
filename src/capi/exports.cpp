// SPDX-License-Identifier: BSD-3-Clause
// libvfio-user.so is made of the objects of this room and of those it rests on: see exports.map for what it shows.
