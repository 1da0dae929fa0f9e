"""The settings in groups, in the order of docs/settings.md. `config.Settings` is the sum of them."""

from pydantic import BaseModel

from safelight.settings.api import Connections, Http, RateLimits, SignInSettings
from safelight.settings.deployment import Deployment, Logging, Storage, Testing
from safelight.settings.generations import Credits, Generations, ProviderSettings, Workers

GROUPS: tuple[type[BaseModel], ...] = (
    Deployment,
    Http,
    SignInSettings,
    Storage,
    Logging,
    ProviderSettings,
    Credits,
    Generations,
    Workers,
    RateLimits,
    Connections,
    Testing,
)
