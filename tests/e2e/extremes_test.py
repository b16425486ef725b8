# SPDX-License-Identifier: BSD-3-Clause
"""Nothing that a stock stack can emit stops a queue or is lost: frames at the edges, from inside a guest and from the host,
and sockets that anybody can open, and tunnels.

The rows are the same in each run (harness.extremes.SEED) and have numbers, to be repeated alone: `-k "row and e1000-017"`.
"""
import pytest
from conftest import Rig
from guest import KERNELS
from harness import extremes, sockets, stations, tunnels
from harness.extremes import CHECKSUM_AT, MOST_PIECES, SHAPES, STAG, frame_of, same_but_for
from harness.stations import MACS, by_the_host, destination, of_row


def rows(is_wanted=lambda shape: True):
    return [pytest.param(number, id=f"{number:03}-{shape}") for number, shape in enumerate(SHAPES) if is_wanted(shape)]


@pytest.fixture(scope="module", params=KERNELS, ids="linux-{}".format)
def any_kernel(request):
    return request.param


@pytest.fixture(scope="module")
def net(any_kernel, request, tmp_path_factory):
    print(f"rows are those of seed {extremes.SEED}")
    rig = Rig(tmp_path_factory.mktemp("edge"))
    chosen = {item.callspec.params.get("number") for item in request.session.items if item.path == request.path}
    made = stations.boot(rig, any_kernel, [number for number in range(len(SHAPES)) if number in chosen])
    yield made
    made.tap.close()
    rig.close()


@pytest.fixture(scope="module", params=MACS)
def from_guest(net, request):
    return request.param, stations.send_rows(net, request.param)


@pytest.fixture(scope="module", params=MACS)
def from_host(net, request):
    return request.param, stations.send_rows_from_host(net, request.param)


def places_of_sums(shape, frame, sender):
    """Where an arriving frame may differ. The 82540EM's context says in 8 bits where a sum begins and where it is put (8254x manual 3.3.6),
    and Linux's driver writes what fits: beyond byte 255 the part puts a sum elsewhere."""
    if sender != "e1000" or not shape.sum_is_left or frame.sum_at <= 255:
        return []
    tag = 4 if shape.through else 0  # the card's to put in behind the addresses, when it is done with the sum
    wrong = frame.sum_at - tag & 0xff
    return [frame.sum_at, wrong if wrong < 12 else wrong + tag]


def difference(heard, wanted, shape, places):
    """In words; nothing if what was heard is what was wanted. A station that takes frames whose sum is still to be made is not told it."""
    if len(heard) != len(wanted):
        return f"{len(heard)} frames of {[len(frame) for frame, _ in heard][:9]} bytes arrived, not {len(wanted)} of {len(wanted[0])}"
    for number, ((frame, sum_is_left), right) in enumerate(zip(heard, wanted)):
        head = len(right) - shape.payload if len(wanted) == 1 else len(wanted[0]) - shape.segment
        sum_at = head - (8 if shape.l4 == "udp" else 20 + shape.l4_options) + CHECKSUM_AT[shape.l4]
        if not same_but_for(frame, right, [*places, sum_at] if sum_is_left else places):
            at = next((at for at, pair in enumerate(zip(frame, right)) if pair[0] != pair[1]), min(len(frame), len(right)))
            return (f"frame {number} differs at byte {at}: {len(frame)} bytes, {frame[at:at + 16].hex()}, "
                    f"should be {len(right)}, {right[at:at + 16].hex()}")
    return ""


def missing(heard, shape, frame, sender):
    """What is wrong with the frames of a row at one station. The host takes super-frames."""
    places = places_of_sums(shape, frame, sender)
    if places:  # among them may be addresses: such frames are known by their end
        heard = [one for one in heard if one[0][-8:] in {right[-8:] for right in frame.arriving}]
    else:
        heard = of_row(heard, frame.sent[6:12].hex(":"), shape)
    if len(heard) == 1 < len(frame.arriving):
        return difference(heard, [frame.whole], shape, places)
    return difference(heard, frame.arriving, shape, places)


@pytest.mark.parametrize("number", rows())
def test_row(net, from_guest, number):
    """A frame that the guest's stack gives to its card leaves, and the card goes on."""
    sender, told = from_guest
    shape, row = SHAPES[number], told[number]
    frame = frame_of(shape, destination(net.tap, sender, shape), MACS[sender])
    assert not row.stopped, "the card sends no more"
    assert row.error is None, "the guest's kernel does not take the frame"
    if sender == "iavf" and shape.start is not None:
        return  # its descriptor says of which protocol the sum is, not where it begins
    hits_destination = any(place < 6 for place in places_of_sums(shape, frame, sender))  # the switch floods what nobody has as an address
    if shape.to != "host" and not hits_destination:
        assert missing(row.peer, shape, frame, sender) == ""
    if shape.to != "peer" or hits_destination:
        assert missing(row.host, shape, frame, sender) == ""


# But for S-tags, which a VM has to ask its iavf for, and for more frames than a ring takes.
@pytest.mark.parametrize("number", rows(lambda shape: STAG not in dict(shape.tags) and len(shape.pieces) <= MOST_PIECES))
def test_row_from_the_host(net, from_host, number):
    """A frame that the host's stack gives to a tap arrives at the card of a guest."""
    receiver, told = from_host
    shape, row = by_the_host(SHAPES[number]), told[number]
    frame = frame_of(shape, MACS[receiver], net.tap.mac)
    if row.error:
        pytest.skip(f"the host's kernel does not take this frame: {row.error}")
    assert row.is_alive, "the guest is gone"
    if receiver == "e1000" and len(frame.arriving[0]) > 1518:
        return  # with its FCS too long for the part (RCTL.LPE, 8254x manual 13.4.22)
    assert missing(row.heard, shape, frame, "host") == ""


@pytest.mark.parametrize("sender, number", [pytest.param(sender, number, id=f"{sender}-{number:02}-{use.what}-{use.how}")
                                            for sender in MACS for number, use in enumerate(sockets.USES) if sender in use.models])
def test_socket(net, sender, number):
    """What goes through a user's socket arrives, and the card goes on."""
    trouble, is_alive = sockets.use_socket(net, sender, sockets.USES[number], sockets.FIRST_PORT + number)
    assert is_alive, "the card sends no more"
    assert trouble == ""


@pytest.fixture(scope="module", params=tunnels.LINKS)
def tunnel(net, request):
    tunnels.set_up(net, request.param)
    yield 6 if request.param == "sit" else 4
    tunnels.take_down(net)


@pytest.mark.parametrize("sender", MACS)
def test_tunnel(net, tunnel, sender):
    """TCP through a tunnel arrives, cut and summed by whoever can, and the card goes on."""
    is_whole = tunnels.carries_a_file(net, sender, tunnel)
    is_alive = stations.is_alive(net, sender)
    if not is_alive:
        stations.open_card(net, sender)
    assert is_alive, "the card sends no more"
    assert is_whole
