# SPDX-License-Identifier: Apache-2.0
"""A machine with SVM, emulated: Debian's kernel and kvm-amd under QEMU's TCG.

Puts programs, with the libraries they need, into an initramfs under the paths
that they have here, boots it, runs the programs one after another, and hands
out what they print, line by line.

The kernel's console is one serial port, the programs' output another, their
errors a third, so that none can be mistaken for another. What the programs
print is not trusted to be well-formed: the marks between them carry a number
drawn at random.

Needs qemu-system-x86, linux-image-amd64 and busybox-static, and no rights.
"""

import lzma
import os
import pathlib
import re
import secrets
import shlex
import stat
import subprocess
import tempfile
import threading

QEMU = "qemu-system-x86_64"
BUSYBOX = "/bin/busybox"

INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t debugfs debugfs /sys/kernel/debug
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
ulimit -n 65536
ip link set lo up
while read -r module; do insmod "/modules/$module"; done </modules/order
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
exec </dev/null >/dev/ttyS1 2>/dev/ttyS2
MARK=%(mark)s
[ -c /dev/kvm ] && echo "$MARK kvm"
run() { # number, seconds, program and arguments
    echo "$MARK start $1" | tee /dev/ttyS2
    number=$1 seconds=$2
    shift 2
    (timeout -s KILL "$seconds" "$@")
    status=$?
    echo
    echo "$MARK end $number $status"
}
%(jobs)s
echo "$MARK done"
sync
poweroff -f
"""


class Unavailable(Exception):
    """The machine cannot be built or booted here; the text says why."""


class Job:
    """A program to run, its arguments, and what became of it."""

    def __init__(self, argv, env=None, timeout=60):
        self.argv = argv
        self.env = env or {}
        self.timeout = timeout
        self.started = False
        self.status = None  # exit status, or 128 + signal; None: never ended
        self.errors = ""    # what it wrote to standard error

    def script(self, number):
        words = ["run", str(number), str(self.timeout), "env"]
        words += [f"{name}={value}" for name, value in self.env.items()]
        return " ".join(shlex.quote(word) for word in words + self.argv)


def version_key(path):
    return [int(part) if part.isdigit() else part
            for part in re.split(r"(\d+)", path.name)]


def newest_kernel():
    """The newest installed kernel that has kvm-amd: (image, modules)."""
    for image in sorted(pathlib.Path("/boot").glob("vmlinuz-*"),
                        key=version_key, reverse=True):
        release = image.name.removeprefix("vmlinuz-")
        modules = pathlib.Path("/lib/modules") / release
        if (modules / "modules.dep").exists() and os.access(image, os.R_OK):
            return image, modules
    raise Unavailable("no kernel in /boot with its modules in /lib/modules: "
                      "apt-get install linux-image-amd64")


def modules_in_order(directory, name):
    """The files of a module and of those it needs, in order of loading."""
    for line in (directory / "modules.dep").read_text().splitlines():
        module, _, needs = line.partition(":")
        if re.fullmatch(re.escape(name) + r"\.ko(\.\w+)?",
                        os.path.basename(module)):
            return [directory / path
                    for path in reversed([module] + needs.split())]
    raise Unavailable(f"{directory} has no module {name}")


def module_bytes(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", path], check=True,
                              stdout=subprocess.PIPE).stdout
    return path.read_bytes()


def libraries_of(program):
    """The shared libraries that a program loads; none if it is static."""
    listing = subprocess.run(["ldd", program], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False)
    if "not found" in listing.stdout:
        raise Unavailable(f"{program} needs a library that is not here:\n"
                          + listing.stdout)
    return re.findall(r"(/\S+) \(0x", listing.stdout)


class Archive:
    """An initramfs: a cpio archive in the "newc" format."""

    def __init__(self):
        self.entries = {}  # path without its leading slash -> (mode, bytes)

    def add(self, path, data, mode=stat.S_IFREG | 0o755):
        path = os.path.normpath(path).lstrip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.add(parent, b"", stat.S_IFDIR | 0o755)
        self.entries[path] = (mode, data)

    def add_file(self, path):
        """A file of this machine, under its own path."""
        source = os.path.abspath(path)
        if source.lstrip("/") in self.entries:
            return
        with open(source, "rb") as file:
            data = file.read()
        self.add(source, data)
        if data.startswith(b"\x7fELF"):
            for library in libraries_of(source):
                self.add_file(library)

    def add_tree(self, path):
        if not os.path.isdir(path):
            self.add_file(path)
            return
        for directory, _, names in os.walk(os.path.abspath(path)):
            for name in names:
                self.add_file(os.path.join(directory, name))

    def write(self, out):
        entries = list(self.entries.items()) + [("TRAILER!!!", (0, b""))]
        for number, (path, (mode, data)) in enumerate(entries, 1):
            name = path.encode() + b"\0"
            fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
                      len(name), 0]
            header = b"070701" + b"".join(b"%08X" % f for f in fields) + name
            out.write(header + b"\0" * (-len(header) % 4))
            out.write(data + b"\0" * (-len(data) % 4))


class Machine:
    """One boot. Use run() once."""

    def __init__(self, jobs, files=(), cpus=1, memory="1G", icount=False,
                 timeout=300):
        self.jobs = jobs
        self.files = files
        self.cpus = cpus
        self.memory = memory
        self.icount = icount
        self.timeout = timeout
        self.mark = "@@kaon-" + secrets.token_hex(8)
        self.kvm = False       # the machine has /dev/kvm
        self.finished = False  # all jobs were run
        self.console = ""      # what the kernel said

    def archive(self, modules):
        archive = Archive()
        archive.add(BUSYBOX, pathlib.Path(BUSYBOX).read_bytes())
        order = modules_in_order(modules, "kvm-amd")
        for path in order:
            archive.add(f"/modules/{path.stem}", module_bytes(path))
        archive.add("/modules/order",
                    "".join(f"{path.stem}\n" for path in order).encode())
        for mountpoint in ("proc", "sys", "dev", "tmp"):
            archive.add(mountpoint, b"", stat.S_IFDIR | 0o755)
        for path in [job.argv[0] for job in self.jobs] + list(self.files):
            archive.add_tree(path)
        jobs = "\n".join(job.script(i) for i, job in enumerate(self.jobs))
        archive.add("/init",
                    (INIT % {"mark": self.mark, "jobs": jobs}).encode())
        return archive

    def command(self, kernel, work):
        # One host thread for all CPUs: with a thread for each, QEMU 7.2 loses
        # an interrupt once in some twenty boots, and the kernel locks up.
        command = [
            QEMU, "-accel", "tcg,thread=single", "-cpu", "max,+svm",
            "-smp", str(self.cpus), "-m", self.memory,
            "-nic", "none", "-nodefaults", "-display", "none", "-no-reboot",
            "-serial", f"file:{work}/console", "-serial", "stdio",
            "-serial", f"file:{work}/errors",
            "-kernel", str(kernel), "-initrd", f"{work}/initramfs",
            "-append", "console=ttyS0 loglevel=2 oops=panic panic=-1 "
                       "mitigations=off nokaslr",
        ]
        if self.icount:
            command += ["-icount", "shift=0,sleep=off"]
        return command

    def lines(self, qemu):
        """Yields (job, line) for each line that a job prints."""
        job = None
        empty = False  # the line before the mark of the end is not the job's
        for raw in qemu.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n")
            if not line.startswith(self.mark):
                if job and empty:
                    yield job, ""
                empty = line == ""
                if job and not empty:
                    yield job, line
                continue
            empty = False
            words = line.split()[1:]
            if words[0] == "kvm":
                self.kvm = True
            elif words[0] == "start":
                job = self.jobs[int(words[1])]
                job.started = True
            elif words[0] == "end" and job:
                job.status = int(words[2])
                job = None
            elif words[0] == "done":
                self.finished = True

    def share_errors(self, text):
        """Gives each job what it wrote to standard error."""
        for part in text.split(self.mark + " start ")[1:]:
            number, _, errors = part.partition("\n")
            self.jobs[int(number)].errors = errors

    def run(self):
        """Boots, and yields (job, line) until the machine is off."""
        kernel, modules = newest_kernel()
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            with open(work / "initramfs", "wb") as out:
                self.archive(modules).write(out)
            with subprocess.Popen(self.command(kernel, work),
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE) as qemu:
                killer = threading.Timer(self.timeout, qemu.kill)
                killer.start()
                try:
                    yield from self.lines(qemu)
                finally:
                    killer.cancel()
                    qemu.kill()
            self.console = (work / "console").read_text(errors="replace")
            self.share_errors((work / "errors").read_text(errors="replace"))

    def trouble(self):
        """Why the run cannot be relied on, as a sentence; or None."""
        if "Kernel panic" in self.console:
            return "the kernel panicked"
        if not self.finished:
            return f"the machine did not end within {self.timeout} s"
        if not self.kvm:
            return "the machine has no /dev/kvm: kvm-amd did not load"
        return None
