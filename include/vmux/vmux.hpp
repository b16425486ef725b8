// SPDX-License-Identifier: BSD-3-Clause
// All of libvmux. A device needs pci/function.hpp, vfio_user/server.hpp and runtime/poller.hpp: see docs/sdk.md.
#pragma once

#include "vmux/base/log.hpp"
#include "vmux/memory/ordered.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/client.hpp"
#include "vmux/vfio_user/server.hpp"
