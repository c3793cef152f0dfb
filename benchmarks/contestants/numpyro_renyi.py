"""NumPyro's RenyiELBO at order 0, compiled by JAX."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer import SVI, RenyiELBO
from numpyro.optim import Adam

from benchmarks.contestants.contestant import BETAS, EPSILON, LATENT, Array, Contestant, Task


class NumPyro(Contestant):
    """The whole step, sampling and Adam included, is one compiled function."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        adam = Adam(task.learning_rate, b1=BETAS[0], b2=BETAS[1], eps=EPSILON)
        self.svi = SVI(self.model, self.guide, adam, RenyiELBO(alpha=0, num_particles=task.k))
        self.update, self.evaluate = jax.jit(self.svi.update), jax.jit(self.svi.evaluate)
        self.state = self.svi.init(jax.random.PRNGKey(0), jnp.zeros((1, 784)))

    def linear(self, name: str, given: jax.Array) -> jax.Array:
        """One map, its parameters in NumPyro's store."""
        weight, bias = self.task.layer(name)
        return given @ numpyro.param(f"{name}.weight", jnp.asarray(weight.T)) + numpyro.param(
            f"{name}.bias", jnp.asarray(bias)
        )

    def model(self, x: jax.Array) -> None:
        """p(x, h)."""
        with numpyro.plate("images", len(x)):
            h = numpyro.sample("h", dist.Normal(jnp.zeros(LATENT), jnp.ones(LATENT)).to_event(1))
            features = jnp.tanh(self.linear("p2", jnp.tanh(self.linear("p1", h))))
            numpyro.sample("x", dist.Bernoulli(logits=self.linear("p_logits", features)).to_event(1), obs=x)

    def guide(self, x: jax.Array) -> None:
        """q(h | x)."""
        features = jnp.tanh(self.linear("q2", jnp.tanh(self.linear("q1", x))))
        mean, scale = self.linear("q_mean", features), jnp.exp(self.linear("q_log_scale", features))
        with numpyro.plate("images", len(x)):
            numpyro.sample("h", dist.Normal(mean, scale).to_event(1))

    def load(self, x: Array) -> jax.Array:
        """A JAX array."""
        return jnp.asarray(x)

    def step(self, x: jax.Array) -> None:
        """Returns before it is done."""
        self.state, self.loss = self.update(self.state, x)

    def wait(self) -> None:
        """Until the last loss, and so every step, is there."""
        jax.block_until_ready((self.state, self.loss))

    def bound(self, x: jax.Array) -> float:
        """Minus its loss, a sum over images."""
        self.state = self.state._replace(rng_key=jax.random.split(self.state.rng_key)[0])
        return -float(self.evaluate(self.state, x)) / len(x)


CONTESTANT = NumPyro
