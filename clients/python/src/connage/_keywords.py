"""The keywords that pools and connections take, for type checkers and completion: first those of
this package, in the order of their use, then redis-py's, as redis-py 8 has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable, TypedDict, Union

from ._duration import Duration

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

    from ._lifetime import Retired


class Own(TypedDict, total=False):
    """Those of this package: see :class:`connage.AgeLimited`."""

    maxage: Union[Duration, None]
    maxage_jitter: Union[int, str, None]
    maxage_margin: Union[Duration, None]
    maxage_refresh: Union[Duration, None]
    maxage_tell_server: Union[bool, str, None]
    maxidle: Union[Duration, None]
    on_retired: Union[Callable[["Retired"], object], None]


NAMES = tuple(Own.__annotations__)


class Keywords(Own, total=False):
    """With redis-py's. A keyword that is new in redis-py, and not here, works all the same."""

    host: str
    port: Union[int, str]
    path: str
    db: Union[int, str, None]
    username: Union[str, None]
    password: Union[str, None]
    credential_provider: Union["CredentialProvider", None]
    client_name: Union[str, None]
    lib_name: Union[str, None]
    lib_version: Union[str, None]
    driver_info: Any
    protocol: Union[int, str, None]
    legacy_responses: bool
    socket_timeout: Union[float, None]
    socket_connect_timeout: Union[float, None]
    socket_keepalive: Union[bool, None]
    socket_keepalive_options: Union[Mapping[int, Union[int, bytes]], None]
    socket_type: int
    socket_read_size: int
    retry: Any
    retry_on_timeout: bool
    retry_on_error: Union[Iterable[type[Exception]], object]
    health_check_interval: Union[float, None]
    encoding: str
    encoding_errors: str
    decode_responses: bool
    encoder_class: Any
    parser_class: Any
    command_packer: Any
    redis_connect_func: Any
    event_dispatcher: Any
    maint_notifications_config: Any
    cache: Any
    cache_config: Any
    cache_factory: Any
    queue_class: Any
    himport_registry: Any
    ssl: bool
    ssl_keyfile: Union[str, None]
    ssl_certfile: Union[str, None]
    ssl_cert_reqs: Any
    ssl_include_verify_flags: Any
    ssl_exclude_verify_flags: Any
    ssl_ca_certs: Union[str, None]
    ssl_ca_data: Union[str, None]
    ssl_ca_path: Union[str, None]
    ssl_check_hostname: bool
    ssl_password: Union[str, None]
    ssl_validate_ocsp: bool
    ssl_validate_ocsp_stapled: bool
    ssl_ocsp_context: Any
    ssl_ocsp_expected_cert: Any
    ssl_min_version: Any
    ssl_ciphers: Union[str, None]
    connection_pool: Any
    is_master: bool
    check_connection: bool
