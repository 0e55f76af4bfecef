"""python -m unittest, after componentize-py has made the contract's types (see README.md)."""

import unittest

from componentize_py_types import Err
from policy import Aggregator
from wit_world.exports.aggregator import Question, Statistics, Update


def question(*examples: int) -> Question:
    updates = [
        Update(n, loss=None, base_loss=None, staleness=0, steps=None, normalizer=None, learning_rate=None) for n in examples
    ]
    statistics = Statistics(norms=[], products=[])
    return Question(1, 0, 0, [], len(updates), updates, statistics, b"")


class Policy(unittest.TestCase):
    def test_weights_are_shares_of_the_examples(self):
        self.assertEqual(Aggregator().weigh(question(100, 300), "{}").weights, [0.25, 0.75])

    def test_nothing_to_weigh_is_said(self):
        with self.assertRaises(Err):
            Aggregator().weigh(question(0, 0), "{}")

    def test_unknown_parameters_are_refused(self):
        with self.assertRaises(Err):
            Aggregator().describe('{"trim": 1}')


if __name__ == "__main__":
    unittest.main()
