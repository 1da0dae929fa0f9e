"""The provider interfaces over OpenAI."""

from safelight.domain.errors.base import ConfigError
from safelight.media.decoding_pool import MediaPool
from safelight.providers.base import Adapter, ReadImage
from safelight.providers.openai.images import OpenAIImageProvider
from safelight.providers.openai.pictures import Pictures
from safelight.providers.openai.service import OpenAIService
from safelight.providers.openai.text import OpenAITextModel


def openai_adapter(api_key: str, url: str, read_image: ReadImage, pool: MediaPool | None = None) -> Adapter:
    """Raises ConfigError if there is no key."""
    if not api_key:
        raise ConfigError("the adapter openai needs a key: set SAFELIGHT_OPENAI_API_KEY")
    service, pictures = OpenAIService(api_key, url), Pictures(read_image, pool)
    return Adapter(text=OpenAITextModel(service, pictures), image=OpenAIImageProvider(service, pictures))
