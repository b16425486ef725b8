# SPDX-License-Identifier: BSD-3-Clause
"""The Debian packages on a bare Debian with its systemd: installed, upgraded under running VMs, purged."""
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import in_use
from guest import Guest, start_all
from harness.traffic import give_address, ping, wait_for_peer
from harness.vmux import wait_until

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "build/deb"
OURS = ("vmux", "vmux-tools", "vmux-web", "libvmux0", "libvmux-dev", "vmux-libvfio-user", "python3-vmux")
PORTS = "".join(f'[[port]]\nname = "{name}"\nmodel = "{model}"\nsocket = "/run/vmux/{name}.sock"\n'
                for name, model in (("a", "iavf"), ("b", "e1000")))

pytestmark = pytest.mark.exhaustive


def file_of(package):
    (path,) = PACKAGES.glob(f"{package}_*.deb")
    return path


def newer(package, directory):
    """The same package with a greater version: how an upgrade looks to dpkg and to systemd."""
    tree, path = directory / "tree", directory / "newer.deb"
    subprocess.run(["dpkg-deb", "-R", file_of(package), tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 9:", 1))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, path], check=True, stdout=subprocess.DEVNULL)
    return path


class Machine:
    """A Debian of its own with systemd, in a container; what it has in /run/vmux is in `run`, where VMMs find it."""
    name = "debian"

    def __init__(self, root, run):
        self.root, self.run_directory = root, run
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            ["systemd-nspawn", "-q", "-D", self.root, "--register=no", "--keep-unit", "--private-network", f"--bind={self.run_directory}:/run/vmux", "--boot"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.try_run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), "systemd to have started")

    def try_run(self, *command):
        """A command in it; the caller judges."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False).stdout.split()
        if not children:
            return subprocess.CompletedProcess(command, 1, "", "it is not there yet")
        return subprocess.run(["nsenter", "-t", children[0], "-a", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *map(str, command)],
                              capture_output=True, text=True, timeout=300, check=False)

    def run(self, *command):
        done = self.try_run(*command)
        assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}\n{self.story()}"
        return done.stdout

    def take(self, path):
        """A file of ours, put where its own programs see it; that place."""
        shutil.copy(path, self.root / "root")
        return f"/root/{Path(path).name}"

    def ctl(self, *arguments):
        return json.loads(self.run("vmuxctl", "--json", *arguments))

    def show(self, name):
        return self.run("systemctl", "show", "-P", name, "vmux.service").strip()

    def story(self):
        return self.try_run("journalctl", "--no-pager", "-n", "60").stdout

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """All packages but the guests' module are installed by apt, so that what they depend on comes from Debian."""
    directory = tmp_path_factory.mktemp("debian")
    run = Path(subprocess.check_output(["mktemp", "-d", "/tmp/vmux-packages.XXXXXX"], text=True).strip())
    files = [file_of(package) for package in OURS]
    subprocess.run(["mmdebstrap", "-q", "--variant=minbase", "--include=systemd,dbus,procps",
                    f"--customize-hook=copy-in {' '.join(map(str, files))} /root",
                    f"--customize-hook=chroot \"$1\" apt-get install -q -y --no-install-recommends {' '.join(f'/root/{path.name}' for path in files)}",
                    "--skip=cleanup/apt", "bookworm", directory / "root"], check=True, timeout=900, env={**os.environ, "TMPDIR": str(directory)})
    machine = Machine(directory / "root", run)
    machine.root.joinpath("etc/vmux").mkdir()
    machine.root.joinpath("etc/vmux/vmux.toml").write_text(PORTS)
    try:
        machine.start()
        with in_use(machine):
            yield machine
    finally:
        machine.stop()
        shutil.rmtree(run)


@contextlib.contextmanager
def two_guests(machine):
    guests = [Guest(name, sockets=[machine.run_directory / f"{name}.sock"]) for name in ("a", "b")]
    try:
        start_all(guests)
        for number, guest in enumerate(guests, 1):
            give_address(guest, f"10.77.0.{number}/24")
        wait_for_peer(guests[0], "10.77.0.2")
        yield guests
    finally:
        for guest in guests:
            guest.kill()


def test_every_program_finds_its_libraries(debian):
    for package in OURS:
        for path in debian.run("dpkg", "-L", package).split():
            inside = debian.root / path.lstrip("/")
            if inside.is_file() and not inside.is_symlink() and inside.read_bytes()[:4] == b"\x7fELF":
                assert "not found" not in debian.run("ldd", path), path
    assert debian.run("vmux", "--version").startswith("vmux ")
    debian.run("/usr/bin/python3", "-c", "import vmux; vmux.Device")


def test_the_library_stays_out_of_the_loaders_way(debian):
    assert "libvfio-user" not in debian.run("ldconfig", "-p")


@pytest.mark.parametrize("unit", ["vmux", "vmux-web"])
def test_units_expose_little(debian, unit):
    debian.run("systemd-analyze", "security", "--threshold=20", f"{unit}.service")


def test_the_daemon_has_no_privileges(debian):
    status = dict(line.split(":\t", 1) for line in debian.run("sh", "-c", "cat /proc/$(pidof -s vmux)/status").splitlines() if ":\t" in line)
    assert int(status["Uid"].split()[0]) != 0
    assert {status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")


def test_an_upgrade_and_a_kill_leave_the_vms_their_network(debian, tmp_path):
    with two_guests(debian) as (a, b):
        keeper = debian.show("MainPID")
        pinging = a.spawn("ping -i 0.2 10.77.0.2")
        debian.run("dpkg", "-i", debian.take(newer("vmux", tmp_path)))
        assert "done" in debian.run("vmuxctl", "keeper", "status")
        assert "(deleted)" not in debian.run("sh", "-c", "for pid in $(pidof vmux); do readlink /proc/$pid/exe; done")
        debian.run("systemctl", "reload", "vmux")
        debian.run("sh", "-c", "kill -KILL $(vmuxctl keeper status | sed -n 's/.*daemon \\([0-9]*\\).*/\\1/p')")
        assert ping(b, "10.77.0.1", count=20).loss == 0
        pinging.kill("INT")
        assert ", 0% packet loss" in pinging.output(), pinging.output()
        assert (debian.show("MainPID"), debian.show("ActiveState")) == (keeper, "active")
        for guest in (a, b):
            assert "Link is Down" not in guest.check("dmesg") and "eset" not in guest.check("dmesg | grep -i eth0 || true")


def test_a_purge_leaves_nothing(debian):
    owned = {path for package in OURS for path in debian.run("dpkg", "-L", package).split() if "vmux" in path or "vfio" in path}
    assert len(owned) > 50
    debian.run("apt-get", "purge", "-q", "-y", *OURS)
    assert debian.try_run("pidof", "vmux").stdout == ""
    assert sorted(path for path in owned if (debian.root / path.lstrip("/")).exists()) == []
    assert (debian.root / "etc/vmux/vmux.toml").exists()  # the administrator's


@pytest.fixture(scope="module")
def image():
    """The OCI image's tar, and its bill of materials."""
    subprocess.run([ROOT / "scripts/image"], check=True, timeout=600)
    return ROOT / "build/vmux-oci.tar", json.loads((ROOT / "build/vmux-oci.spdx.json").read_text())


def test_the_image_serves_as_a_user_of_its_own(image, tmp_path):
    layout, bundle, name = tmp_path / "layout", tmp_path / "bundle", f"vmux-test-{os.getpid()}"
    layout.mkdir()
    subprocess.run(["tar", "-C", layout, "-xf", image[0]], check=True)
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:vmux", bundle], check=True, capture_output=True)
    settings = json.loads((bundle / "config.json").read_text())
    assert settings["process"]["user"]["uid"] != 0
    settings["process"]["args"] += ["--keeper", "-s", "/run/vmux/vm0.sock"]
    settings["process"]["terminal"] = False
    (bundle / "config.json").write_text(json.dumps(settings))
    with subprocess.Popen(["runc", "run", "-b", bundle, name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            listed = wait_until(lambda: subprocess.run(["runc", "exec", name, "vmuxctl", "--json", "port", "list"], capture_output=True, text=True,
                                                       check=False).stdout, "vmux in the container to answer")
            assert [port["name"] for port in json.loads(listed)] == ["vm0"]
        finally:
            running.terminate()
            said = running.communicate(timeout=60)[0]
    assert "is ready" in said and "stopping" in said, said


def test_the_bill_of_materials_names_all_that_is_in_the_image(image):
    bill = image[1]
    names = {package["name"] for package in bill["packages"]}
    assert {"vmux", "libc6", "librte-ethdev23"} <= names and not names & {"gcc", "cmake"}
    ids = {package["SPDXID"] for package in bill["packages"]} | {bill["SPDXID"]}
    assert len(ids) == len(bill["packages"]) + 1
    related = {(each["spdxElementId"], each["relationshipType"], each["relatedSpdxElement"]) for each in bill["relationships"]}
    assert {end for first, _, last in related for end in (first, last)} <= ids
    assert ("SPDXRef-Package-vmux", "DEPENDS_ON", "SPDXRef-Package-librte-ethdev23") in related
