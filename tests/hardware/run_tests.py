#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs test programs in an emulated machine with SVM, and prints one TAP.

Each program prints TAP of its own. Here its cases are counted, numbered anew
and named after it. What a program promised and did not print has failed: if
it crashed, hung or never started, or if the kernel under it panicked. A plain
program prints what it likes, and is one case that passes if it exits with 0.
"""

import argparse
import os
import sys

from svm_machine import Job, Machine, Unavailable

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

import tap  # noqa: E402

SECONDS_PER_PROGRAM = 600
SECONDS_IN_ALL = 2000
SLOWNESS = 10  # the emulator is slower than the time limits expect


class Report:
    """Prints a TAP stream of cases from many programs."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def case(self, program, result, name):
        self.count += 1
        self.failed += result == tap.FAILED
        print("not ok" if result == tap.FAILED else "ok", self.count,
              f"- {program}: {name}"
              + (" # SKIP" if result == tap.SKIPPED else ""), flush=True)

    def remark(self, text):
        for line in text.splitlines():
            print("#", line.removeprefix("# "), flush=True)


class Program:
    """A job, the TAP that it prints, and where its cases are reported."""

    def __init__(self, job, report):
        self.name = os.path.basename(job.argv[0])
        self.job = job
        self.report = report
        self.reader = tap.Reader()

    def read(self, line):
        case = self.reader.read(line)
        if case:
            self.report.case(self.name, *case)
        else:
            self.report.remark(line)

    def end(self):
        good = self.job.status == 0
        for case in self.reader.end(good, how_it_ended(self.job.status)):
            self.report.case(self.name, *case)
        self.report.remark(self.job.errors)


class Plain(Program):
    """A job that says all with its exit status."""

    def read(self, line):
        self.report.remark(line)

    def end(self):
        good = self.job.status == 0
        self.report.case(self.name, tap.PASSED if good else tap.FAILED,
                         how_it_ended(self.job.status))
        self.report.remark(self.job.errors)


def environment():
    """What the tests are told here, they are told there."""
    told = {name: value for name, value in os.environ.items()
            if name.startswith("KAON_TEST_")}
    return told | {"KAON_TEST_SLOWNESS": str(SLOWNESS)}


def how_it_ended(status):
    if status is None:
        return "the machine went down"
    if status > 128:
        return f"killed by signal {status - 128}"
    return f"exit status {status}"


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--with", dest="files", action="append", default=[],
                        metavar="PATH", help="a file or directory to bring")
    parser.add_argument("--plain", action="append", default=[],
                        metavar="PROGRAM", help="a program without TAP")
    parser.add_argument("--icount", action="store_true",
                        help="let time pass by instructions executed")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", default="2G")
    parser.add_argument("programs", nargs="*")
    return parser.parse_args()


def main():
    args = parse()
    report = Report()
    programs = {}
    for path in args.programs + args.plain:
        job = Job([os.path.abspath(path)], environment(), SECONDS_PER_PROGRAM)
        kind = Plain if path in args.plain else Program
        programs[job] = kind(job, report)
    machine = Machine(list(programs), args.files, cpus=args.cpus,
                      memory=args.memory, icount=args.icount,
                      timeout=SECONDS_IN_ALL)
    try:
        for job, line in machine.run():
            programs[job].read(line)
        trouble = machine.trouble()
    except (Unavailable, OSError) as error:
        trouble = str(error)
    for program in programs.values():
        program.end()
    if trouble:
        report.case("machine", tap.FAILED, trouble)
        report.remark(machine.console)
    print(f"1..{report.count}", flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
