"""python -m unittest, after componentize-py has made the contract's types (see README.md)."""

import unittest

from componentize_py_types import Err
from policy import Placer
from wit_world.exports.placer import Demand, Load, Question, Worker


def worker(name: str, slots: int, slots_free: int) -> Worker:
    load = Load(cpu_utilization=0.0, memory_free_bytes=1 << 30, gpus=[])
    return Worker(name, "eu-west", slots, slots_free, 0, None, load)


def question(*demands: Demand) -> Question:
    workers = [worker("a", 2, 1), worker("b", 4, 4), worker("c", 2, 2)]
    return Question(0, list(demands), workers, b"")


class Policy(unittest.TestCase):
    def test_the_freest_workers_come_first(self):
        answer = Placer().place(question(Demand("digits", 1, 2, 1, [0, 1, 2])), "{}")
        self.assertEqual([seat.worker for seat in answer.assignments], [1, 2])

    def test_slots_given_away_are_gone(self):
        answer = Placer().place(question(Demand("one", 1, 1, 1, [0]), Demand("two", 1, 1, 1, [0])), "{}")
        self.assertEqual([seat.demand for seat in answer.assignments], [0])
        self.assertEqual([no.demand for no in answer.declined], [1])

    def test_unknown_parameters_are_refused(self):
        with self.assertRaises(Err):
            Placer().check('{"seats": 1}')


if __name__ == "__main__":
    unittest.main()
