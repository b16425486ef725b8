# SPDX-License-Identifier: BSD-3-Clause
import argparse

import pytest

from measure.number import number, positive


@pytest.mark.parametrize("text, value", [("0", 0), ("7", 7), ("0x10", 16), ("18446744073709551615", 2**64 - 1)])
def test_numbers_are_read_as_the_programs_in_cpp_read_them(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "010", "00", "1_000", "+5", "-5", " 5", "5\n", "0X10", "0o17", "1e3", "٣", str(2**64)])
def test_what_only_python_reads_is_no_number(text):
    assert number(text) is None


def test_positive_refuses_zero_in_a_sentence():
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 1000000, got '0'"):
        positive("0")
