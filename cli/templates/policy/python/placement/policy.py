"""{{name}}: a placement policy. The workers with the most free slots first; among equals, in name order."""

from polder import read_parameters
from wit_world import exports
from wit_world.exports.placer import Answer, Assignment, Declined, Question


class Placer(exports.Placer):
    def check(self, parameters: str) -> None:
        """Called when a run is submitted: refuses parameters that are not ours."""
        read_parameters(parameters)

    def place(self, question: Question, parameters: str) -> Answer:
        """Called whenever rounds wait for workers."""
        read_parameters(parameters)
        return freest_first(question)


def freest_first(question: Question) -> Answer:
    answer = Answer(assignments=[], declined=[], state=b"")
    # seats that this answer gives away are gone for the demands after it
    slots_free = [worker.slots_free for worker in question.workers]
    for index, demand in enumerate(question.demands):
        open_ = [worker for worker in demand.candidates if slots_free[worker] > 0]
        if len(open_) < max(demand.seats_min, 1):
            reason = f"the round needs {demand.seats_min} workers, and {len(open_)} have a free slot"
            answer.declined.append(Declined(index, reason))
            continue
        open_.sort(key=lambda worker: (-slots_free[worker], worker))
        for worker in open_[: demand.seats]:
            reason = f"{slots_free[worker]} of {question.workers[worker].slots} slots free"
            answer.assignments.append(Assignment(index, worker, None, reason))
            slots_free[worker] -= 1
    return answer
