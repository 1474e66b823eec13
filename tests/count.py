#!/usr/bin/env python3
"""Counts results: `count.py tap FILE…` of cmocka programs, `count.py junit FILE` of pytest.

Prints "passed failed skipped".

A program that ended before it had reported all it announced counts its missing tests as failed.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree


def count_tap(text):
    """One program's output; its groups each announce a plan "1..N"."""
    planned = sum(int(number) for number in re.findall(r"^1\.\.(\d+)", text, re.M))
    # cmocka 1.1 says "not ok 9 # SKIP" of a skipped test
    skipped = len(re.findall(r"^(?:not )?ok \d+ # SKIP", text, re.M))
    failed = len(re.findall(r"^not ok(?! \d+ # SKIP)", text, re.M))
    passed = len(re.findall(r"^ok(?! \d+ # SKIP)", text, re.M))
    status = int(re.search(r"^# exit status (\d+)$", text, re.M).group(1))
    failed += max(0, planned - passed - failed - skipped)
    if status != 0 and failed == 0:  # it broke outside of its tests, a sanitizer's last word for example
        failed = 1
    if status == 0 and passed + failed + skipped == 0:  # a program that tests nothing is no success
        failed = 1
    return passed, failed, skipped


def count_junit(path):
    suites = ElementTree.parse(path).getroot().iter("testsuite")
    total = [0, 0, 0]
    for suite in suites:
        tests, errors, failures, skipped = (int(suite.get(k)) for k in ("tests", "errors", "failures", "skipped"))
        # a test that passed and whose teardown then failed is listed once as a test and once as an error
        failed = len({(c.get("classname"), c.get("name")) for c in suite.iter("testcase") if is_bad(c)})
        assert failed or not errors + failures
        total[0] += tests - failed - skipped
        total[1] += failed
        total[2] += skipped
    return total


def is_bad(case):
    return case.find("failure") is not None or case.find("error") is not None


def main():
    kind, paths = sys.argv[1], sys.argv[2:]
    if kind == "junit":
        print(*count_junit(paths[0]))
        return
    counts = []
    for path in paths:
        with open(path, errors="replace") as file:
            counts.append(count_tap(file.read()))
    print(*(sum(column) for column in zip(*counts)))


if __name__ == "__main__":
    main()
