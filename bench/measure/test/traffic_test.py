# SPDX-License-Identifier: BSD-3-Clause
import json
from types import SimpleNamespace

import pytest
from measure import access, traffic

SOCKPERF = """sockperf: \x1b[2;35m== version #3.7-no.git == \x1b[0m
sockperf: Summary: Round trip is 13.822 usec
sockperf: \x1b[2;35m====> avg-rtt=13.822 (std-dev=9.860)\x1b[0m
sockperf: \x1b[2;35mTotal 39753 observations\x1b[0m; each percentile contains 397.53 observations
sockperf: ---> <MAX> observation = 1786.163
sockperf: ---> percentile 99.999 = 1786.163
sockperf: ---> percentile 99.000 =    8.227
sockperf: ---> percentile 50.000 =    6.654
sockperf: ---> <MIN> observation =    6.514
"""
SERVER_TEXT = """[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5]   0.00-1.00   sec  11.9 MBytes   100 Mbits/sec  0.007 ms  10/100 (10%)
[  6]   0.00-1.00   sec  11.9 MBytes  1.50 Gbits/sec  0.007 ms  0/100 (0%)
[SUM]   0.00-1.00   sec  23.8 MBytes  1.60 Gbits/sec  0.007 ms  10/200 (5%)
[  5]   1.00-1.01   sec  11.9 KBytes   100 Kbits/sec  0.018 ms  0/381 (0%)
- - - - - - - - - - - - - - - - - - - - - - - - -
[  5]   0.00-2.00   sec  23.8 MBytes   100 Mbits/sec  0.018 ms  0/763 (0%)  receiver
"""


def iperf(protocol="TCP", reverse=0, end=None, seconds=(), **more):
    intervals = [
        {"sum": {"start": at, "end": at + 1.0, "seconds": 1.0, "bits_per_second": rate, "omitted": False, "lost_percent": 2.5}}
        for at, rate in enumerate(seconds)
    ]
    return json.dumps(
        {"start": {"test_start": {"protocol": protocol, "reverse": reverse}}, "intervals": intervals, "end": end, **more}
    )


def test_iperf_tcp_counts_what_was_received():
    text = iperf(
        end={"sum_sent": {"bits_per_second": 9e8, "retransmits": 4}, "sum_received": {"bits_per_second": 8e8}}, seconds=(7e8, 9e8)
    )
    assert traffic.parse_iperf(text) == {"mbits": 800.0, "seconds": [(1.0, 700.0, 2.5), (2.0, 900.0, 2.5)], "retransmits": 4}


def test_iperf_udp_takes_the_receivers_word_for_what_arrived():
    found = traffic.parse_iperf(
        iperf("UDP", end={"sum": {"bits_per_second": 2e9, "lost_percent": 5.0}}, seconds=(2e9,), server_output_text=SERVER_TEXT)
    )
    assert found == {"mbits": 1600.0, "seconds": [(1.0, 1600.0, 5.0)], "lost_percent": 5.0}


def test_iperf_udp_without_the_receivers_word_takes_off_what_was_lost():
    found = traffic.parse_iperf(iperf("UDP", end={"sum": {"bits_per_second": 1e8, "lost_percent": 25.0}}))
    assert (found["mbits"], found["seconds"]) == (75.0, [])


def test_iperf_udp_reverse_has_the_receivers_intervals():
    found = traffic.parse_iperf(iperf("UDP", 1, {"sum": {"bits_per_second": 1e8, "lost_percent": 2.5}}, (3e8, 5e8)))
    assert found["mbits"] == 400.0


def test_iperf_says_what_iperf_said():
    with pytest.raises(traffic.Failed, match="unable to connect to server"):
        traffic.parse_iperf('{"start": {}, "error": "unable to connect to server"}')


def test_iperf_without_a_report_says_so():
    with pytest.raises(traffic.Failed, match="gave no report: Killed"):
        traffic.parse_iperf("Killed")


def udp(text):
    return f'{{"start": {{"test_start": {{"protocol": "UDP", "reverse": 1}}}}, "intervals": [], "end": {text}}}'


@pytest.mark.parametrize(
    "text, word",
    [
        ('{"start": {}, "end": {}}', "start.test_start"),
        ('{"start": {"test_start": {}}}', "end"),
        ('{"start": {"test_start": {}}, "end": {"sum": 5}}', "no sum"),
        ('{"start": {"test_start": {}}, "end": {"sum": {"bits_per_second": "fast"}}}', "'fast' for bits_per_second"),
        ('{"start": {"test_start": {}}, "end": {"sum": {"bits_per_second": NaN}}}', "None for bits_per_second"),
        (udp('{"sum": {"bits_per_second": 0, "lost_percent": null}}'), "no datagram"),
        (udp('{"sum": {"bits_per_second": 0, "lost_percent": -nan}}'), "no datagram"),
        (udp('{"sum": {"bits_per_second": 0}}'), "no datagram"),
        ("{" * 5000, "no report"),
    ],
)
def test_iperf_that_counted_nothing_has_failed(text, word):
    with pytest.raises(traffic.Failed, match=word):
        traffic.parse_iperf(text)


def test_iperf_intervals_without_figures_are_left_out():
    text = '{"start": {"test_start": {}}, "intervals": [null, {"sum": null}], "end": {"sum": {"bits_per_second": 1e6}}} bye'
    assert traffic.parse_iperf(text)["seconds"] == []


def test_an_answer_of_no_known_kind_fails_its_phase_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(traffic, "parse_iperf", lambda _text: {}["unforeseen"])
    run = SimpleNamespace(now=lambda: 0.0, raw=lambda name: tmp_path / name, sample=lambda *_: None, phase=lambda _: None)
    options = SimpleNamespace(streams=1, iperf_port=5201)
    record = traffic.Work(run, ToldAtOnce("x"), None, "10.0.0.1", options).measure("tcp", 1, 1)
    assert "makes no sense (KeyError: 'unforeseen')" in record["failed"]


def test_a_server_that_is_still_busy_is_recognised():
    assert traffic.NOT_READY.search('"error":\t"unable to receive control message - port may not be available"')


class ToldAtOnce:
    """A place that answers with what the test gave it."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def run(self, _line, _seconds=0):
        return SimpleNamespace(output=self.answers.pop(0), errors="")


def test_a_try_that_is_repeated_leaves_its_error_and_the_servers_log(tmp_path, monkeypatch):
    monkeypatch.setattr(traffic.time, "sleep", lambda _seconds: None)
    client = ToldAtOnce('{"error": "control socket has closed unexpectedly"}', iperf(end={"sum": {"bits_per_second": 1e9}}))
    run = SimpleNamespace(now=lambda: 0.0, raw=lambda name: tmp_path / name, sample=lambda *_: None, phase=lambda _: None)
    options = SimpleNamespace(streams=1, iperf_port=5201)
    record = traffic.Work(run, client, ToldAtOnce("the server says why"), "10.0.0.1", options).measure("tcp", 1, 1)
    assert record["throughput"]["mbits"] == 1000.0
    kept = (tmp_path / "tcp-1-error-1.txt").read_text(encoding="utf-8")
    assert "control socket" in kept and "the server says why" in kept


def test_sockperf_reads_mean_and_percentiles():
    found = traffic.parse_sockperf(SOCKPERF)
    assert found == {
        "count": 39753,
        "mean_us": 13.822,
        "percentiles": [(0.0, 6.514), (50.0, 6.654), (99.0, 8.227), (100.0, 1786.163)],
    }


def test_sockperf_without_answers_says_why():
    with pytest.raises(traffic.Failed, match="Connection refused"):
        traffic.parse_sockperf("sockperf: ERROR: Can`t connect socket (errno=111 Connection refused)\n")


def test_sockperf_log_starts_at_its_first_message():
    assert traffic.parse_sockperf_log(
        "packet, txTime(sec), rxTime(sec), rtt(usec)\n0, 2.5, 2.6, 13.26\n1, 3.0, 3.1, 14\n2, 3."
    ) == (2.5, [(0.0, 13.26), (0.5, 14.0)])


def test_ping_reads_each_answer():
    found = traffic.parse_ping(
        "64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=1.50 ms\n64 bytes from 10.0.0.2: seq=1 ttl=64 time=0.5 ms\n"
    )
    assert (found["count"], found["mean_us"], found["rtts"]) == (2, 1000.0, [1500.0, 500.0])


def test_ping_without_an_answer_has_failed():
    with pytest.raises(traffic.Failed, match="100% packet loss"):
        traffic.parse_ping("2 packets transmitted, 0 received, 100% packet loss")


def test_percentiles_stop_where_observations_end():
    assert [percent for percent, _ in traffic.percentiles(list(range(200)))] == [0.0, 25.0, 50.0, 75.0, 90.0, 99.0, 100.0]


@pytest.mark.parametrize("prefix", ["", "sh -c"])
def test_what_is_parsed_is_said_in_plain_language(monkeypatch, prefix):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert access.CommandPlace("here", prefix).run("echo $LC_ALL").output == "C\n"
