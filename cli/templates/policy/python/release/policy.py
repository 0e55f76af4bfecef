"""{{name}}: a release policy. Updates leave no longer than an L2 norm, and not at all if too few examples are behind them."""

from polder import figure, read_parameters
from wit_world import exports
from wit_world.exports.releaser import Answer, Precision, Question, Treatment, Verdict_Release, Verdict_Withhold

NORM_MAX = 10.0
EXAMPLES_MIN = 10


class Releaser(exports.Releaser):
    def check(self, parameters: str) -> None:
        """Called when a worker starts: refuses parameters that are not ours."""
        read_parameters(parameters)

    def review(self, question: Question, parameters: str) -> Answer:
        """Called after local training, before anything of the update leaves."""
        read_parameters(parameters)
        return clipped(question)


def clipped(question: Question) -> Answer:
    update = question.update
    if update.examples < EXAMPLES_MIN:
        reason = f"{update.examples} examples are too few to hide one; this region wants {EXAMPLES_MIN}"
        return Answer(Verdict_Withhold(), b"", reason)
    treatment = Treatment(clip=NORM_MAX, noise=None, precision=Precision.FLOAT32)
    return Answer(Verdict_Release(treatment), b"", f"norm {figure(update.norm)}, of which at most {figure(NORM_MAX)} leaves")
