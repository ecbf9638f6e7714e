"""The counts that decide whether a run is green must not be able to hide a failure."""
import os
import tempfile
import unittest

import stage


class Count(unittest.TestCase):
    def count(self, name, text, status=0):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name)
            if text is not None:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
            return stage.count(status, path)

    def test_tap(self):
        text = "1..3\nok 1 a\nnot ok 2 b\nok 3 c # SKIP no disk\nokay\n"
        self.assertEqual(self.count("x.tap", text, 1), (1, 1, 1))

    def test_meson(self):
        text = ('{"result": "OK", "stdout": "ok 1 a\\nok 2 b\\n1..2\\n"}\n'
                '{"result": "OK"}\n{"result": "SKIP"}\n')
        self.assertEqual(self.count("x.json", text), (3, 0, 1))

    def test_meson_program_that_dies_after_good_points(self):
        for result in ("ERROR", "FAIL", "TIMEOUT", "INTERRUPT"):
            text = '{"result": "%s", "stdout": "ok 1 a\\nok 2 b\\n"}\n' % result
            self.assertEqual(self.count("x.json", text, 1), (2, 1, 0))

    def test_junit(self):
        cases = ('<testcase classname="a" name="good"/>',
                 '<testcase classname="a" name="good2"><system-out>x</system-out></testcase>',
                 '<testcase classname="a" name="bad"><failure/></testcase>',
                 '<testcase classname="a" name="bad"><error/></testcase>',
                 '<testcase classname="a" name="teardown"/>',
                 '<testcase classname="a" name="teardown"><error/></testcase>',
                 '<testcase classname="a" name="out"><skipped/></testcase>')
        text = f'<testsuites><testsuite tests="9">{"".join(cases)}</testsuite></testsuites>'
        self.assertEqual(self.count("x.xml", text, 1), (2, 2, 1))

    def test_no_report(self):
        self.assertEqual(self.count("x.xml", None, 2), (0, 1, 0))

    def test_broken_report(self):
        self.assertEqual(self.count("x.xml", "<testsuites><tests", 0), (0, 1, 0))

    def test_nothing_ran(self):
        self.assertEqual(self.count("x.tap", "", 0), (0, 1, 0))

    def test_failed_without_a_failed_test(self):
        self.assertEqual(self.count("x.tap", "ok 1\n", 3), (1, 1, 0))


class Run(unittest.TestCase):
    def test_results_and_exit_codes(self):
        with tempfile.TemporaryDirectory() as folder:
            report, results = os.path.join(folder, "r.tap"), os.path.join(folder, "results")
            for name, text, status in (("good", "ok 1", 0), ("bad", "ok 1", 1)):
                stage.run(name, 60, report, results, "title",
                          ["sh", "-c", f"echo {text} >{report}; exit {status}"])
                self.assertEqual(stage.summary(results), status)


if __name__ == "__main__":
    unittest.main(buffer=True)
