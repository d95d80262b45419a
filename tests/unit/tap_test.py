#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What decides whether a test has failed must not be fooled by silence."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

from tap import FAILED, PASSED, SKIPPED, Reader  # noqa: E402

# sentence, lines, did the program end well, results of its cases
TABLE = [
    ("all_cases_pass", "1..2\nok 1 - a\nok 2 - b", True, [PASSED, PASSED]),
    ("a_case_fails", "1..2\nok 1 - a\nnot ok 2 - b", False, [PASSED, FAILED]),
    ("a_case_is_skipped", "1..1\nok 1 - a # SKIP no moon", True, [SKIPPED]),
    ("a_failed_skip_has_failed", "1..1\nnot ok 1 - a # SKIP", False, [FAILED]),
    ("a_plan_at_the_end_counts", "ok 1 - a\n1..1", True, [PASSED]),
    ("a_crash_fails_what_was_promised", "1..3\nok 1 - a", False,
     [PASSED, FAILED, FAILED]),
    ("a_clean_exit_before_the_end_fails", "1..2\nok 1 - a", True,
     [PASSED, FAILED]),
    ("a_crash_after_the_last_case_fails", "1..1\nok 1 - a", False,
     [PASSED, FAILED]),
    ("more_cases_than_promised_fail", "1..1\nok 1 - a\nok 2 - b", True,
     [PASSED, PASSED, FAILED]),
    ("no_plan_fails", "", True, [FAILED]),
    ("an_ordinary_line_is_no_case", "1..1\nokay then\nok 1 - a", True,
     [PASSED]),
    ("a_case_after_a_partial_line_is_missed_and_fails",
     "1..1\nhello ok 1 - a", True, [FAILED]),
]


def results(lines, good):
    reader = Reader()
    for line in lines.splitlines():
        reader.read(line)
    reader.end(good, "it ended")
    return [result for result, _ in reader.cases]


def main():
    failed = False
    print(f"1..{len(TABLE)}")
    for number, (name, lines, good, expected) in enumerate(TABLE, 1):
        got = results(lines, good)
        failed |= got != expected
        print(f"{'ok' if got == expected else 'not ok'} {number} - {name}")
        if got != expected:
            print(f"# expected {expected}, got {got}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
