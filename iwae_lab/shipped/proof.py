"""The experiment that shows the difference in seconds, and the long way from random weights."""

from iwae_core.training.spec import ExperimentSpec, RunSpec

# Both go backwards through all rows: a step then costs them the same, which is what the question is about.
RUNS = RunSpec("vae", backward="all"), RunSpec("iwae", backward="all")
# Both runs go on from the same trained VAE. A small learning rate lets Adam begin anew without a jolt; a small
# minibatch, and as many images as make the lead certain at the first look, bring that look within seconds.
PROOF = ExperimentSpec(
    RUNS, batch_size=20, learning_rate=5e-5, steps=1000, eval_images=150, eval_k=1000, start="vae_k1"
)
SCRATCH = ExperimentSpec(RUNS)
