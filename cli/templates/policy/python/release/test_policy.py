"""python -m unittest, after componentize-py has made the contract's types (see README.md)."""

import unittest

from componentize_py_types import Err
from policy import NORM_MAX, Releaser
from wit_world.exports.releaser import Budget, Context, Question, Update, Verdict_Release, Verdict_Withhold


def question(examples: int) -> Question:
    update = Update(parameters=650, examples=examples, loss=None, steps=None, norm=12.5, max_norm=0.75)
    context = Context("digits", 1, "eu-west", "fedavg@0.2.0", cohort=3, quorum=2)
    return Question(0, update, context, Budget(0, 0), b"")


class Policy(unittest.TestCase):
    def test_updates_are_clipped(self):
        verdict = Releaser().review(question(100), "{}").verdict
        self.assertIsInstance(verdict, Verdict_Release)
        self.assertEqual(verdict.value.clip, NORM_MAX)

    def test_few_examples_stay(self):
        self.assertIsInstance(Releaser().review(question(9), "{}").verdict, Verdict_Withhold)

    def test_unknown_parameters_are_refused(self):
        with self.assertRaises(Err):
            Releaser().check('{"norm": 1}')


if __name__ == "__main__":
    unittest.main()
