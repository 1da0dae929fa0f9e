"""The settings in groups, in the order of docs/settings.md. `config.Settings` is the sum of them."""

from pydantic import BaseModel

from safelight.settings.api import Connections, Http, RateLimits, SignIn
from safelight.settings.deployment import Deployment, Logging, Storage, Testing
from safelight.settings.generations import Credits, Generations, Providers, Workers

GROUPS: tuple[type[BaseModel], ...] = (
    Deployment,
    Http,
    SignIn,
    Storage,
    Logging,
    Providers,
    Credits,
    Generations,
    Workers,
    RateLimits,
    Connections,
    Testing,
)
