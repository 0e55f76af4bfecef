"""Norm outliers: updates that are much longer or shorter than the others do not count; the rest are averaged by their examples.

An update whose L2 norm is more than `deviations` robust standard deviations away from the median norm is left out, where the robust
standard deviation is 1.4826 times the median absolute deviation (F. R. Hampel: The Influence Curve and its Role in Robust Estimation, JASA 69,
1974). At least half of all updates are within one of them, so never are all left out. It stops updates that were scaled up to take
over the model, not those that only point elsewhere.

Parameters: deviations (3, above 0).
"""

from statistics import median

from polder import figure, read_parameters, refuse, refuse_parameters
from wit_world import exports
from wit_world.exports.aggregator import Plan, Question, Shape, StatisticsWanted, Training, Traits


class Aggregator(exports.Aggregator):
    def describe(self, parameters: str) -> Traits:
        read_deviations(parameters)
        return Traits(
            shape=Shape.GEOMETRY,
            statistics=StatisticsWanted.NORMS,
            updates_min=1,
            has_step=False,
            state_tensors=0,
            training=Training(proximal_mu=None, correction=None, base_loss=False),
        )

    def weigh(self, question: Question, parameters: str) -> Plan:
        return plan(question, read_deviations(parameters))

    def combine(self, chunk, rows, weights, parameters):
        raise refuse("this policy combines nothing")

    def step(self, chunk, model, aggregate, extra, state, parameters):
        raise refuse("this policy has no step")


def read_deviations(parameters: str) -> float:
    deviations = read_parameters(parameters, deviations=3)["deviations"]
    if not deviations > 0:
        raise refuse_parameters(f"deviations is {deviations}; it must be above 0")
    return deviations


def plan(question: Question, deviations: float) -> Plan:
    norms = question.statistics.norms
    if not norms:
        raise refuse("there is no update to average")
    middle = median(norms)
    allowed = deviations * 1.4826 * median(abs(norm - middle) for norm in norms)
    counts = [abs(norm - middle) <= allowed for norm in norms]
    examples = [update.examples if count else 0 for update, count in zip(question.updates, counts)]
    total = sum(examples)
    if total == 0:
        raise refuse("no update of a usual norm reports a training example")
    notes = ["" if count else f"left out: norm {figure(norm)}" for norm, count in zip(norms, counts)]
    left_out = len(counts) - sum(counts)
    reason = f"{left_out} of {len(counts)} updates left out, whose norms are not within {figure(allowed)} of {figure(middle)}"
    return Plan(
        weights=[n / total for n in examples],
        extra_weights=[],
        memo=b"",
        state=b"",
        notes=notes,
        reason=reason,
    )
