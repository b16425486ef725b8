# SPDX-License-Identifier: BSD-3-Clause
"""Tunnels between the two cards of harness.stations, whose headers a card that cuts frames has to know or to copy."""
from .stations import ADDRESSES, OTHER

INSIDE = {"e1000": ("10.61.0.2", "fd61::2"), "iavf": ("10.61.0.3", "fd61::3")}
GENEVE_OPTIONS = (0, 128, 168, 252)  # bytes
# {a}, {b}: this end's address and the other's, {a6}, {b6} of IPv6.
LINKS = {
    "ipip": "type ipip local {a} remote {b}",
    "sit": "type sit local {a} remote {b}",
    "gre": "type gre local {a} remote {b}",
    "gre-csum": "type gre local {a} remote {b} csum",
    "ip6gre": "type ip6gre local {a6} remote {b6}",
    "ip6tnl": "type ip6tnl mode any local {a6} remote {b6}",
    "vxlan": "type vxlan id 7 local {a} remote {b} dstport 4789 dev nic udpcsum",
    "vxlan6": "type vxlan id 7 local {a6} remote {b6} dstport 4789 dev nic udpcsum",
} | {f"geneve-options{size}": "type geneve external" for size in GENEVE_OPTIONS}


def geneve_options(size):
    """For tc's action tunnel_key: options of at most 31 words each behind their own word."""
    words, options = size // 4, []
    while words > 0:
        length = min(words - 1, 31)
        options.append(f"0102:{80 + len(options)}:{'11223344' * length}")
        words -= length + 1
    return "geneve_opts " + ",".join(options) if options else ""


def set_up(net, kind):
    for model, (address, address6) in INSIDE.items():
        (a, a6), (b, b6) = ADDRESSES[model], ADDRESSES[OTHER[model]]
        net.guest.check(f"""modprobe -a ipip sit ip_gre ip6_gre ip6_tunnel vxlan geneve act_tunnel_key cls_matchall sch_ingress
            ip -n {model} link add tun {LINKS[kind].format(a=a, b=b, a6=a6, b6=b6)} || exit 1
            ip -n {model} link set tun mtu 1280 up
            test {kind} = sit || ip -n {model} addr add {address}/24 dev tun
            ip -n {model} addr add {address6}/64 dev tun nodad""")
        if kind.startswith("geneve"):
            net.guest.check(f"""tc -n {model} qdisc add dev tun clsact
                tc -n {model} filter add dev tun egress matchall action tunnel_key set src_ip {a} dst_ip {b} id 77 dst_port 6081 \\
                  csum {geneve_options(int(kind.split('options')[1]))} pipe""")


def take_down(net):
    for model in INSIDE:
        net.guest.run(f"ip -n {model} link del tun")


def carries_a_file(net, sender, version):
    """Half a megabyte over TCP, by the tunnel; whether it arrived whole."""
    receiver = OTHER[sender]
    to = INSIDE[receiver][0 if version == 4 else 1]
    return net.guest.run(f"""test -p /tmp/silence || mkfifo /tmp/silence
        test -s /tmp/random || dd if=/dev/urandom of=/tmp/random bs=64k count=8 2>/dev/null
        (ip netns exec {receiver} timeout 60 nc -l -p 5000 <>/tmp/silence | sha256sum >/tmp/arrived) &
        until ip netns exec {receiver} netstat -ltn | grep -q ':5000 '; do sleep 0.05; done
        ip netns exec {sender} timeout 60 nc {to} 5000 </tmp/random
        wait; sha256sum </tmp/random | cmp - /tmp/arrived""", timeout=180).status == 0
