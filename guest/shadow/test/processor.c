// SPDX-License-Identifier: BSD-3-Clause
#include "user.h"

_Thread_local u32 shadow_test_cpu;

void shadow_test_become(u32 cpu) { shadow_test_cpu = cpu; }
