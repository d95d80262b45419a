# SPDX-License-Identifier: Apache-2.0
"""Reads the TAP of one test program, and does not believe in silence.

A case that the program's plan promised and that was not printed has failed.
So has a program that ends badly although each of its cases went well.
"""

import re

PLAN = re.compile(r"1\.\.(\d+)\b.*")
CASE = re.compile(r"(not )?ok\b\s*(?:\d+\b\s*)?(?:- )?([^#]*)(#.*)?")

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"


class Reader:
    def __init__(self):
        self.planned = None
        self.cases = []  # (result, name)

    def read(self, line):
        """Takes one line. Returns the case that it ends, or None."""
        line = line.rstrip()
        plan = PLAN.fullmatch(line)
        case = CASE.fullmatch(line)
        if plan:
            self.planned = int(plan[1])
        if not case:
            return None
        result = FAILED if case[1] else PASSED
        if not case[1] and (case[3] or "").upper().startswith("# SKIP"):
            result = SKIPPED
        self.cases.append((result, case[2].strip()))
        return self.cases[-1]

    def end(self, good, how):
        """The program has ended. Returns the failures that it hid, as cases."""
        hidden = []
        missing = max((self.planned or 0) - len(self.cases), 0)
        if self.planned is None:
            hidden.append((FAILED, f"printed no plan: {how}"))
        elif len(self.cases) > self.planned:
            hidden.append((FAILED, "printed more cases than it planned"))
        for _ in range(missing):
            hidden.append((FAILED, f"a case did not run: {how}"))
        if not good and not hidden and FAILED not in dict(self.cases):
            hidden.append((FAILED, how))
        self.cases += hidden
        return hidden
