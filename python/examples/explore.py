#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A shell for the protocol: connects to any vfio-user server and does what it is told, one command a line.

Usage: explore.py SOCKET [COMMAND...]      without commands they are read from standard input; `help` lists them
"""
import shlex
import sys
from typing import Callable

import vmux
from vmux.client import CONFIG_REGION


def number(text: str) -> int:
    return int(text, 0)


class Explorer:
    """Commands are methods; what they return is printed."""

    def __init__(self, client: vmux.Client) -> None:
        self.client = client
        self.memory: dict[int, vmux.Memory] = {}
        self.listening: dict[tuple[vmux.IrqKind, int], vmux.Interrupt] = {}
        self.commands: dict[str, Callable[..., str]] = {
            "info": self.info, "regions": self.regions, "capabilities": self.capabilities, "irqs": self.irqs,
            "read": self.read, "write": self.write, "config": self.config, "share": self.share, "peek": self.peek,
            "poke": self.poke, "unmap": self.unmap, "listen": self.listen, "wait": self.wait, "reset": self.reset,
            "help": self.help,
        }

    def info(self) -> str:
        """info: who the device is, and what was agreed on"""
        return f"{self.client.identity()}\n{self.client.info()}\n{self.client.limits}"

    def regions(self) -> str:
        """regions: size, rights and mappable parts of each"""
        lines = []
        for index in range(self.client.info().regions):
            region = self.client.region(index)
            rights = "r" * region.readable + "w" * region.writable + "m" * region.mappable
            lines.append(f"{index}: {region.size:#x} bytes, {rights or '-'} {region.areas or ''}".rstrip())
        return "\n".join(lines)

    def capabilities(self) -> str:
        """capabilities: where and which"""
        kinds = {False: "capability", True: "extended capability"}
        return "\n".join(f"{each.at:#x}: {kinds[each.is_extended]} {each.number:#x}" for each in self.client.capabilities())

    def irqs(self) -> str:
        """irqs: vectors of each kind"""
        return "\n".join(f"{kind.name.lower()}: {self.client.irq(kind).count}" for kind in vmux.IrqKind)

    def read(self, region: str, offset: str, size: str = "4") -> str:
        """read REGION OFFSET [SIZE]: bytes, and as a number"""
        data = self.client.region(number(region)).read(number(offset), number(size))
        return f"{data.hex(' ')}  = {int.from_bytes(data, 'little'):#x}" if len(data) <= 8 else data.hex(" ", 4)

    def write(self, region: str, offset: str, value: str, size: str = "4") -> str:
        """write REGION OFFSET VALUE [SIZE]: a number, little endian"""
        self.client.region(number(region)).write_int(number(offset), number(value), number(size))
        return "done"

    def config(self, offset: str, size: str = "4") -> str:
        """config OFFSET [SIZE]: bytes of configuration space"""
        return self.read(str(CONFIG_REGION), offset, size)

    def share(self, address: str, size: str) -> str:
        """share ADDRESS SIZE: gives memory to the device"""
        memory = self.client.share_memory(number(address), number(size))
        self.memory[memory.address] = memory
        return "done"

    def _of(self, address: int) -> vmux.Memory:
        for memory in self.memory.values():
            if memory.address <= address < memory.address + memory.size:
                return memory
        raise ValueError(f"no shared memory at {address:#x}")

    def peek(self, address: str, size: str = "16") -> str:
        """peek ADDRESS [SIZE]: what is in shared memory"""
        memory = self._of(number(address))
        at = number(address) - memory.address
        return memory.view[at : at + number(size)].hex(" ", 4)

    def poke(self, address: str, text: str) -> str:
        """poke ADDRESS HEX: writes to shared memory"""
        memory, data = self._of(number(address)), bytes.fromhex(text)
        at = number(address) - memory.address
        memory.view[at : at + len(data)] = data
        return "done"

    def unmap(self, address: str) -> str:
        """unmap ADDRESS: takes memory from the device"""
        self._of(number(address)).unmap()
        del self.memory[number(address)]
        return "done"

    def listen(self, kind: str, count: str = "1") -> str:
        """listen intx|msi|msix [COUNT]: to interrupts"""
        which = vmux.IrqKind[kind.upper()]
        for each in self.client.interrupts(which, number(count)):
            self.listening[which, each.vector] = each
        return "done"

    def wait(self, kind: str, vector: str = "0", seconds: str = "1") -> str:
        """wait intx|msi|msix [VECTOR] [SECONDS]: for an interrupt"""
        found = self.listening.get((vmux.IrqKind[kind.upper()], number(vector)))
        if found is None:
            raise ValueError("not listened to: see listen")
        return f"signalled {found.wait(float(seconds))} times"

    def reset(self) -> str:
        """reset: the device"""
        self.client.reset()
        return "done"

    def help(self) -> str:
        """help: this"""
        return "\n".join(each.__doc__ or "" for each in self.commands.values())

    def do(self, line: str) -> bool:
        """One command. False: it could not be done."""
        words = shlex.split(line, comments=True)
        if not words:
            return True
        try:
            if words[0] not in self.commands:
                raise ValueError(f"no command {words[0]}: see help")
            print(self.commands[words[0]](*words[1:]), flush=True)
            return True
        except (OSError, ValueError, KeyError, TypeError) as problem:
            print(f"{words[0]}: {problem}", file=sys.stderr, flush=True)
            return False


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    try:
        with vmux.Client(arguments[0]) as client:
            explorer = Explorer(client)
            return 0 if all([explorer.do(line) for line in arguments[1:] or sys.stdin]) else 1
    except (OSError, KeyboardInterrupt) as problem:
        print(f"{arguments[0]}: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
