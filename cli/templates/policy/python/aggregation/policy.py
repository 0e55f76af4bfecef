"""{{name}}: an aggregation policy. The mean of the updates, weighted by their training examples."""

from polder import read_parameters, refuse
from wit_world import exports
from wit_world.exports.aggregator import Plan, Question, Shape, StatisticsWanted, Training, Traits


class Aggregator(exports.Aggregator):
    def describe(self, parameters: str) -> Traits:
        """Called when a run is submitted: refuses parameters that are not ours, and says what the policy must see."""
        read_parameters(parameters)
        return Traits(
            shape=Shape.SUMS,
            statistics=StatisticsWanted(0),
            updates_min=1,
            has_step=False,
            state_tensors=0,
            training=Training(proximal_mu=None, correction=None, base_loss=False),
        )

    def weigh(self, question: Question, parameters: str) -> Plan:
        """Called once a round: how much each update counts."""
        read_parameters(parameters)
        return mean(question)

    def combine(self, chunk, rows, weights, parameters):
        raise refuse("this policy combines nothing")

    def step(self, chunk, model, aggregate, extra, state, parameters):
        raise refuse("this policy has no step")


def mean(question: Question) -> Plan:
    total = sum(update.examples for update in question.updates)
    if total == 0:
        raise refuse("no update reports a training example")
    return Plan(
        weights=[update.examples / total for update in question.updates],
        extra_weights=[],
        memo=b"",
        state=b"",
        notes=[],
        reason=f"the mean of {len(question.updates)} updates, weighted by their {total} training examples",
    )
