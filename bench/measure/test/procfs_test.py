# SPDX-License-Identifier: BSD-3-Clause
from measure.sampling import procfs, sources

STAT = """cpu  100 0 50 800 20 5 15 10 30 0
cpu0 60 0 20 400 10 5 5 0 30 0
intr 12345 1 2 3
ctxt 99
"""
INTERRUPTS = """           CPU0       CPU1
 24:          1          0  IO-APIC   5-edge      ACPI:Ged
 41:       7963          7 PCI-MSIX-0000:00:04.0   1-edge      eth0-rx-0
NMI:          0          0   Non-maskable interrupts
LOC:     748597     787057   Local timer interrupts
ERR:          3
"""
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0
  eth0: 1000      10    0    2    0     0          0         0     2000      20    0    3    0     0       0          0
"""


def test_cpu_times_names_each_column():
    assert procfs.cpu_times(STAT)["cpu0"] == {
        "user": 60,
        "nice": 0,
        "system": 20,
        "idle": 400,
        "iowait": 10,
        "irq": 5,
        "softirq": 5,
        "steal": 0,
        "guest": 30,
        "guest_nice": 0,
    }


def test_cpu_times_takes_no_other_line():
    assert set(procfs.cpu_times(STAT)) == {"cpu", "cpu0"}


def test_cpu_shares_count_guest_time_once():
    shares = procfs.cpu_shares(
        {"user": 0, "system": 0, "idle": 0, "guest": 0}, {"user": 50, "system": 25, "idle": 25, "guest": 50}
    )
    assert (shares["user"], shares["system"], shares["guest"], shares["busy"]) == (50, 25, 50, 75)


def test_cpu_shares_of_no_time_are_empty():
    assert procfs.cpu_shares({"user": 5}, {"user": 5}) == {}


def test_thread_times_survives_a_name_with_parentheses():
    line = "77 (a) R (b c) S 1 1 1 0 -1 4194304 10 0 0 0 21 34 0 0 20 0 3 0 5 6 7 8 1 1 1 1 1 0 0 0 0 0 0 0 17 1 0 0 0 13 0 0 0"
    assert procfs.thread_times(line) == ("a) R (b c", 21, 34, 13)


def test_context_switches_adds_both_kinds():
    assert procfs.context_switches("Name:\tx\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n") == 42


def test_interrupts_adds_cpus_and_names_lines():
    found = procfs.interrupts(INTERRUPTS)
    assert found == {
        "24 ACPI:Ged": 1,
        "41 eth0-rx-0": 7970,
        "NMI Non-maskable interrupts": 0,
        "LOC Local timer interrupts": 1535654,
        "ERR": 3,
    }


def test_interrupts_of_nothing_is_empty():
    assert procfs.interrupts("") == {}


def test_interface_counters_leave_out_loopback():
    assert procfs.interface_counters(NET) == {
        "eth0": {"rx_bytes": 1000, "rx_packets": 10, "rx_drops": 2, "tx_bytes": 2000, "tx_packets": 20, "tx_drops": 3}
    }


def test_rates_divides_by_the_time_between():
    assert procfs.rates({"a": 10}, {"a": 30}, 2.0) == {"a": 10.0}


def test_rates_of_a_counter_that_was_reset_starts_at_zero():
    assert procfs.rates({"a": 100}, {"a": 6}, 2.0) == {"a": 3.0}


def test_rates_without_time_are_empty():
    assert procfs.rates({"a": 1}, {"a": 2}, 0.0) == {}


def test_flatten_keeps_numbers_only():
    assert procfs.flatten({"client": {"requests": 7, "name": "x", "on": True}}) == {"client.requests": 7}


def test_rates_of_seconds_without_events_are_kept():
    assert sources.live_rates({"maps": 5, "never": 0}, {"maps": 5, "never": 0}, 1.0) == {"maps": 0.0}


def test_vmux_levels_are_no_rates(monkeypatch):
    run, ports = FakeRun(), sources.VmuxPorts("vmuxctl", None)
    readings = iter(
        [
            {"vm0": {"client.requests": 10, "model.dma.pages_pinned": 4}},
            {"vm0": {"client.requests": 30, "model.dma.pages_pinned": 4}},
        ]
    )
    monkeypatch.setattr(ports, "ask", lambda: next(readings))
    ports.sample(run, 1.0)
    ports.sample(run, 3.0)
    assert run.taken["vmux", "vm0"] == (3.0, {"client.requests": 10.0, "model.dma.pages_pinned": 4})


def test_trace_events_are_counted_with_and_without_a_time():
    lines = [
        "vtd_inv_desc_iotlb_pages domain 0x1",
        "812@1700000000.123456:vtd_inv_desc_iotlb_pages domain 0x1",
        "812@1700000000.2:vfio_region_write x",
        "qemu: warning: something",
    ]
    assert sources.count_trace_events(lines) == {"vtd_inv_desc_iotlb_pages": 2, "vfio_region_write": 1}


def test_perf_stat_reads_a_count():
    assert sources.parse_perf_stat("     1.000123,1742,,iommu:map,1001605189,100.00,,\n") == (1.000123, "iommu:map", 1742.0)


def test_perf_stat_leaves_out_what_was_not_counted():
    assert sources.parse_perf_stat("     1.000123,<not supported>,,kvm:kvm_exit,0,100.00,,") is None


def test_perf_stat_leaves_out_comments():
    assert sources.parse_perf_stat("# started on Sat Nov 21") is None


def test_guest_log_gives_rates_in_the_time_of_the_run(tmp_path):
    log, run = tmp_path / "log", FakeRun()
    blocks = (
        "100.0 1.0\n---\ncpu  0 0 0 100 0 0 0 0 0 0\n---\n   CPU0\n 9: 10 x eth0\n---\n===\n",
        "102.0 1.0\n---\ncpu  50 0 0 150 0 0 0 0 0 0\n---\n   CPU0\n 9: 30 x eth0\n---\n===\n102.9 hal",
    )
    log.write_text("".join(blocks))
    sources.GuestLog(log, "VM", offset=-90.0).sample(run, None)
    assert run.taken["cpu", "VM"] == (
        12.0,
        {"busy": 50.0, "user": 50.0, "system": 0.0, "irq": 0.0, "softirq": 0.0, "steal": 0.0, "guest": 0.0},
    )
    assert run.taken["interrupts", "VM"] == (12.0, {"all": 10.0, "9 eth0": 10.0})


def test_perf_stat_counts_in_the_time_of_the_run(tmp_path):
    log, run = tmp_path / "log", FakeRun()
    log.write_text(
        "500.0 900.0\n     1.0,10,,iommu:map,1,100.00,,\n     1.0,7,,iommu:unmap,1,100.00,,\n     3.0,40,,iommu:map,1,100.00,,\n     4.0,9,,iommu:map,1,100.00,,\n"
    )
    sources.PerfStat(log, "VM", offset=-490.0).sample(run, None)
    assert run.all == [
        ("tracepoints", "VM", 11.0, {"iommu:map": 10.0, "iommu:unmap": 7.0}),
        ("tracepoints", "VM", 13.0, {"iommu:map": 20.0}),
    ]


def test_processes_of_one_label_are_told_apart():
    assert sources._distinct({7: "qemu a", 5: "vmux", 9: "qemu a"}) == {5: "vmux", 7: "qemu a", 9: "qemu a #2"}


class FakeRun:
    def __init__(self):
        self.taken, self.all = {}, []

    def sample(self, source, who, values, t):
        self.taken[source, who] = (t, values)
        self.all.append((source, who, t, values))


def test_a_process_is_named_by_digits_that_are_ascii():
    assert sources.find_processes(["²", "٣", "99999999999999999999"]) == ({}, ["²", "٣", "99999999999999999999"])
