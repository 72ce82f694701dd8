#!/usr/bin/env python3
"""Runs test suites side by side and sums them up.

usage: run.py --out DIR [--jobs N] [--long] [--only TEXT] SUITE...

A suite is a folder of tests/. Its tests are the programs built from test_*.c, and the scripts test_*.py and test_*.sh.
Each prints TAP: "ok N - name", "not ok N - name", "ok N - name # SKIP reason". One that ends with another status than
its lines say, or runs into the time limit, counts as a failure. The last line is 'N passed, N failed[, N skipped]'.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
LINE = re.compile(r'^\s*(not )?ok\b\s*\d*\s*-?\s*([^#]*?)\s*(?:#\s*(\S+)\s*(.*))?$')


def find_tests(suite, out):
    folder = os.path.join(TESTS, suite)
    for name in sorted(os.listdir(folder)):
        if name.startswith('test_') and name.endswith('.c'):
            yield f'{suite}/{name[:-2]}', [os.path.join(out, 'tests', suite, name[:-2])]
        elif name.startswith('test_') and name.endswith('.py'):
            yield f'{suite}/{name}', [sys.executable, os.path.join(folder, name)]
        elif name.startswith('test_') and name.endswith('.sh'):
            yield f'{suite}/{name}', ['sh', os.path.join(folder, name)]


def run(name, command, limit, env):
    start = time.monotonic()
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=env, start_new_session=True)
    except OSError as error:
        return name, 0, 0.0, [], [(name, str(error))], ''
    try:
        output, status = process.communicate(timeout=limit)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, status = process.communicate()[0], 'time limit'
    text = output.decode('utf-8', 'replace')
    passed, failed, skipped = 0, [], []
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        bad, case, directive, reason = match.groups()
        if directive and directive.lower() == 'skip':
            skipped.append((f'{name}: {case}', reason))
        elif bad:
            failed.append((f'{name}: {case}', ''))
        else:
            passed += 1
    if status != 0 and not failed:
        failed.append((name, f'ended with status {status}'))
    if passed + len(failed) + len(skipped) == 0:
        failed.append((name, 'ran no test'))
    return name, passed, time.monotonic() - start, skipped, failed, text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--long', action='store_true', help='tests may take hours and run their full number of cases')
    parser.add_argument('--only', default='', help='run only the tests whose name contains this')
    parser.add_argument('suites', nargs='+')
    args = parser.parse_args()

    env = dict(os.environ, VITRINE_OUT=os.path.abspath(args.out),
               GUESTS=os.path.abspath(os.environ.get('GUESTS') or 'guests'))
    env['CMOCKA_MESSAGE_OUTPUT'] = 'TAP'
    env.setdefault('LSAN_OPTIONS', f'suppressions={TESTS}/lsan.supp:print_suppressions=0')
    if args.long:
        env['VITRINE_LONG'] = '1'
    limit = 4 * 3600 if args.long else 600
    tests = [t for suite in args.suites if os.path.isdir(os.path.join(TESTS, suite))
             for t in find_tests(suite, args.out) if args.only in t[0]]
    passed, failures, skips = 0, [], []
    with concurrent.futures.ThreadPoolExecutor(max(1, args.jobs)) as pool:
        jobs = [pool.submit(run, name, command, limit, env) for name, command in tests]
        for job in concurrent.futures.as_completed(jobs):
            name, count, seconds, skipped, failed, text = job.result()
            passed += count
            failures += failed
            skips += skipped
            print(f'{"FAIL" if failed else "ok":4} {name}: {count} passed in {seconds:.1f} s'
                  + (f', {len(skipped)} skipped' if skipped else ''), flush=True)
            if failed:
                print(''.join('     | ' + line + '\n' for line in text.splitlines()[-60:]), end='', flush=True)
    for case, reason in skips:
        print(f'skipped: {case}: {reason}')
    for case, reason in failures:
        print(f'failed: {case}{": " + reason if reason else ""}')
    print(f'{passed} passed, {len(failures)} failed' + (f', {len(skips)} skipped' if skips else ''))
    sys.exit(1 if failures or not passed else 0)


main()
