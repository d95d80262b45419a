# SPDX-License-Identifier: Apache-2.0
"""Snapshots go through a registry: by skopeo, to Debian's docker-registry and
back, on the loopback. Prints TAP.

    registry_test.py KAON GUEST

GUEST is memory.elf. The registry is started and ended here, on a port that
nobody has; where one of the two programs is missing, the cases are skipped.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LIMIT = 60  # seconds, for whatever is waited for
NEEDED = ["skopeo", "docker-registry"]

KAON, GUEST = sys.argv[1:]

CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}/registry}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class Failed(Exception):
    pass


def run(*words):
    """Runs a program to its end. Returns what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT,
                          check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def kaon(subcommand, *words):
    isolation = []
    if subcommand != "inspect" and os.environ.get("KAON_TEST_ISOLATION"):
        isolation = ["--isolation", os.environ["KAON_TEST_ISOLATION"]]
    return run(KAON, "snapshot", subcommand, *isolation, *words)


def die_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(port, registry):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if registry.poll() is not None:
            raise Failed("docker-registry ended at once")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Failed("docker-registry does not answer")


class Registry:
    def __init__(self, root):
        self.port = free_port()
        config = os.path.join(root, "config.yml")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(root=root, port=self.port))
        self.process = subprocess.Popen(
            ["docker-registry", "serve", config], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def __enter__(self):
        try:
            wait_for(self.port, self.process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(LIMIT)

    def copy_in(self, layout, name):
        run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}",
            f"docker://127.0.0.1:{self.port}/{name}")

    def copy_out(self, name, layout):
        run("skopeo", "copy", "--src-tls-verify=false",
            f"docker://127.0.0.1:{self.port}/{name}", f"oci:{layout}")


def manifests(layout):
    with open(os.path.join(layout, "index.json"), encoding="utf-8") as file:
        return [entry["digest"] for entry in json.load(file)["manifests"]]


def expect(got, expected):
    if got != expected:
        raise Failed(f"{got!r} is not {expected!r}")


def goes_to_a_registry_and_back(root, registry):
    """a snapshot goes to a registry and back, and on from there"""
    here, there = f"{root}/here", f"{root}/there"
    kaon("save", GUEST, here, "write_page", "3", "77")
    registry.copy_in(f"{here}:latest", "team/warm:1")
    registry.copy_out("team/warm:1", f"{there}:latest")
    expect(kaon("run", there, "read_page", "3"), "77\n")
    expect(kaon("run", there, "read_page", "4"), "7\n")
    expect(manifests(there), manifests(here))


def needs_no_name(root, registry):
    """one that comes without a name is the only one"""
    there = f"{root}/unnamed"
    registry.copy_out("team/warm:1", there)
    expect(kaon("run", there, "read_page", "3"), "77\n")


def adds_to_what_tools_wrote(root, registry):
    """a layout that skopeo wrote takes more snapshots, and skopeo takes them"""
    there, back = f"{root}/there", f"{root}/back"
    kaon("save", "--name", "more", GUEST, there, "write_page", "3", "78")
    expect(kaon("run", "--name", "latest", there, "read_page", "3"), "77\n")
    registry.copy_in(f"{there}:more", "team/warm:2")
    registry.copy_out("team/warm:2", f"{back}:more")
    registry.copy_out("team/warm:1", f"{back}:first")
    expect(kaon("run", "--name", "more", back, "read_page", "3"), "78\n")
    expect(kaon("run", "--name", "first", back, "read_page", "3"), "77\n")


CASES = [goes_to_a_registry_and_back, needs_no_name, adds_to_what_tools_wrote]


def say(number, case, failure=None):
    print(f"{'not ' if failure else ''}ok {number} - {case.__doc__}")
    if failure:
        print(f"# {failure}")


def run_cases(root):
    good = True
    with Registry(root) as registry:
        for number, case in enumerate(CASES, 1):
            failure = None
            try:
                case(root, registry)
            except (Failed, OSError, subprocess.TimeoutExpired) as error:
                failure = error
                good = False
            say(number, case, failure)
    return good


def main():
    print(f"1..{len(CASES)}")
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        for number, case in enumerate(CASES, 1):
            print(f"ok {number} - {case.__doc__} # SKIP there is no "
                  f"{' and no '.join(missing)}: apt-get install "
                  f"{' '.join(missing)}")
        return 0
    with tempfile.TemporaryDirectory() as root:
        try:
            return 0 if run_cases(root) else 1
        except Failed as failure:
            print(f"Bail out! {failure}")
            return 1


if __name__ == "__main__":
    sys.exit(main())
