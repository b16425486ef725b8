# SPDX-License-Identifier: BSD-3-Clause
"""Numbers on the command lines of these programs, by the rule of all of them (src/base/text/text.hpp)."""
import argparse
import re


def number(text, most=2**64 - 1):
    """Decimal digits without a leading zero, or 0x and hexadecimal ones; None if it is neither. Python's int() alone
    takes 010, 1_000, +5, spaces and the digits of every alphabet."""
    if re.fullmatch(r"0|[1-9][0-9]*", text, re.ASCII):
        value = int(text)
    elif re.fullmatch(r"0x[0-9a-fA-F]+", text, re.ASCII):
        value = int(text, 16)
    else:
        return None
    return value if value <= most else None


def positive(text):
    """For argparse's type=."""
    value = number(text, 1000000)
    if not value:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000000, got {text!r}")
    return value
