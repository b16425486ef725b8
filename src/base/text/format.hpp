// SPDX-License-Identifier: BSD-3-Clause
// {fmt}, header-only so that libvmux rests on no other library, but with its formatter compiled once (format.cpp) and
// not in each file that formats something: that was two thirds of such a file's compile time.
#pragma once

#include <fmt/format.h>

#if FMT_VERSION / 10000 == 9  // others declare it otherwise, and are instantiated where they are used
FMT_BEGIN_NAMESPACE
namespace detail {
extern template void vformat_to<char>(buffer<char>&, basic_string_view<char>,
                                      basic_format_args<FMT_BUFFER_CONTEXT(char)>, locale_ref);
}  // namespace detail
FMT_END_NAMESPACE
#endif
