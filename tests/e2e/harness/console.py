# SPDX-License-Identifier: BSD-3-Clause
"""A machine that is talked to by its serial console."""
import socket
import subprocess
import time

from children import die_with_parent


class ConsoleMachine:
    """QEMU, started when made; `line` says all but where its console is."""

    def __init__(self, directory, line):
        path = directory / "console.sock"
        with socket.socket(socket.AF_UNIX) as listener, open(directory / "qemu.log", "wb") as log:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(60)
            self.process = subprocess.Popen([*line, "-serial", f"unix:{path}"], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
            self.console, _ = listener.accept()
        self.log = directory / "qemu.log"
        self.heard, self._seen = "", 0

    def say(self, text):
        """From here on is what expect() looks at."""
        self._seen = len(self.heard)
        self.console.sendall(text.encode())

    def expect(self, text, timeout=120):
        """Until the machine has said it since say(); all that it has said since then."""
        deadline = time.monotonic() + timeout
        while text not in self.heard[self._seen:]:
            self.console.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self.console.recv(4096)
            except TimeoutError:
                data = b""
            assert data, f"never said: {text}\n--- console\n{self.heard[-4000:]}\n--- QEMU\n{self.log.read_text(errors='replace')}"
            self.heard += data.decode(errors="replace")
        return self.heard[self._seen:]

    def ask(self, command, answer):
        """A command whose answer is not in itself."""
        self.say(command + "\n")
        return self.expect(answer)

    def close(self):
        self.console.close()
        self.process.kill()
        self.process.wait()
