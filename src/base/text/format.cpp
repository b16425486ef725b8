// SPDX-License-Identifier: BSD-3-Clause
#include "base/text/format.hpp"

#if FMT_VERSION / 10000 == 9
FMT_BEGIN_NAMESPACE
namespace detail {
template void vformat_to<char>(buffer<char>&, basic_string_view<char>, basic_format_args<FMT_BUFFER_CONTEXT(char)>,
                               locale_ref);
}  // namespace detail
FMT_END_NAMESPACE
#endif
