// SPDX-License-Identifier: BSD-3-Clause
// Answers of the kernel as rtnl_fill_vf() lays them out.
#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <set>

#include "base/text/format.hpp"
#include "host/machine/netlink.hpp"
#include "host/machine/rtnetlink_vfs.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::host {
namespace {

/// An answer about `count` virtual functions, of which the kernel leaves some out. The MAC's last bytes are the number.
class Answer {
 public:
  explicit Answer(unsigned count, const std::set<unsigned>& left_out = {}) : bytes_(1 << 20) {
    nlmsghdr* const message = ::mnl_nlmsg_put_header(bytes_.data());
    message->nlmsg_type = RTM_NEWLINK;
    ::mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
    ::mnl_attr_put_strz(message, IFLA_IFNAME, "ens1");
    ::mnl_attr_put_u32(message, IFLA_NUM_VF, count);
    nlattr* const list = ::mnl_attr_nest_start(message, IFLA_VFINFO_LIST);
    for (unsigned vf = 0; vf < count; ++vf) {
      if (left_out.count(vf) == 0) put(message, vf);
    }
    ::mnl_attr_nest_end(message, list);  // a length of 16 bits, which wraps around as the kernel's does
    ::mnl_attr_put_u32(message, IFLA_GROUP, 0);
    bytes_.resize(message->nlmsg_len);
  }
  [[nodiscard]] const nlmsghdr* get() const { return reinterpret_cast<const nlmsghdr*>(bytes_.data()); }

 private:
  static void put(nlmsghdr* message, unsigned vf) {
    nlattr* const info = ::mnl_attr_nest_start(message, IFLA_VF_INFO);
    const ifla_vf_mac mac{vf, {0x52, 0x54, 0, 0, static_cast<__u8>(vf >> 8), static_cast<__u8>(vf)}};
    ::mnl_attr_put(message, IFLA_VF_MAC, sizeof mac, &mac);
    const ifla_vf_vlan vlan{vf, 100 + vf, 0};
    ::mnl_attr_put(message, IFLA_VF_VLAN, sizeof vlan, &vlan);
    const ifla_vf_trust trust{vf, ~0u};  // the driver does not know
    ::mnl_attr_put(message, IFLA_VF_TRUST, sizeof trust, &trust);
    const std::vector<char> others(120);
    ::mnl_attr_put(message, IFLA_VF_STATS, others.size(), others.data());
    ::mnl_attr_nest_end(message, info);
  }
  std::vector<char> bytes_;
};

TEST(VfsOfAnAnswer, AreTakenByTheirNumber) {
  const std::vector<VfSettings> all = parse_vfs(Answer{4, {0, 3}}.get());
  ASSERT_EQ(all.size(), 4u);
  EXPECT_TRUE(all[0].is_left_out());
  EXPECT_EQ(all[1].mac, "52:54:00:00:00:01");
  EXPECT_EQ(all[1].vlan, 101);
  EXPECT_EQ(all[1].is_trusted, std::nullopt);
  EXPECT_EQ(all[2].mac, "52:54:00:00:00:02");
  EXPECT_TRUE(all[3].is_left_out());
}

TEST(VfsOfAnAnswer, AreAllTakenWhereTheListsLengthWrapsAround) {
  for (const unsigned count : {127u, 256u, 350u, 1000u}) {
    const std::vector<VfSettings> all = parse_vfs(Answer{count}.get());
    ASSERT_EQ(all.size(), count);
    EXPECT_EQ(all.back().mac, fmt::format("52:54:00:00:{:02x}:{:02x}", (count - 1) >> 8, (count - 1) & 0xff));
  }
}

TEST(VfsOfAnAnswer, AreNoneIfTheDriverTellsNothing) {
  std::vector<char> bytes(256);
  nlmsghdr* const message = ::mnl_nlmsg_put_header(bytes.data());
  ::mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
  ::mnl_attr_put_u32(message, IFLA_NUM_VF, 7);
  EXPECT_TRUE(parse_vfs(message).empty());
}

TEST(NetlinkReceive, TakesADatagramOfAnySize) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  const UniqueFd in{ends[0]}, out{ends[1]};
  std::vector<char> got;
  for (const std::size_t size : {100u, 32769u, 150000u, 7u}) {
    const std::vector<char> sent(size, 'x');
    ASSERT_EQ(::send(out.get(), sent.data(), size, 0), static_cast<ssize_t>(size));
    ASSERT_TRUE(netlink::receive(in.get(), got));
    EXPECT_EQ(got, sent);
  }
}

}  // namespace
}  // namespace vmux::host
