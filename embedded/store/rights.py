"""What the engine lets its one user do: read and write tables, and back them up onto one disk.

The engine itself refuses the rest: table functions and engines that reach files, other servers or programs,
dictionaries, functions, users, SYSTEM. What it has no right for is `forbidden.py`'s.
"""

from pathlib import Path
from xml.sax.saxutils import escape

from . import forbidden

BACKUPS_DISK = "backups"

_GRANTS = (
    "GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW,"
    " CREATE TEMPORARY TABLE, DROP, TRUNCATE, OPTIMIZE, BACKUP, KILL QUERY ON *.*",
    # BACKUP and RESTORE ask for it; which disk, the server's own settings say.
    "GRANT READ, WRITE ON DISK",
    "GRANT TABLE ENGINE ON Memory, TABLE ENGINE ON MergeTree, TABLE ENGINE ON ReplacingMergeTree,"
    " TABLE ENGINE ON SummingMergeTree, TABLE ENGINE ON AggregatingMergeTree",
)

FIXED = (
    # These name a file, or a server, that is read or written.
    *("format_schema", "format_schema_source", "format_template_row"),
    *("format_template_resultset", "format_avro_schema_registry_url"),
    *(
        "input_format_record_errors_file_path",
        "rename_files_after_processing",
        "output_format_schema",
    ),
    # Expressions that the engine puts around a query; `* APPLY f` calls without a bracket.
    *("select", "filter", "order", "sort", "additional_result_filter"),
    # Another grammar, or text that is run as a statement: `forbidden.py` could not read it.
    *("dialect", "allow_experimental_eval_table_function"),
    *("allow_introspection_functions", "send_logs_level"),
)
"""Settings that no request changes."""


def users() -> str:
    """The engine's users file: one user, for whom `callers.py` has asked for the password."""
    grants = "".join(f"<query>{escape(grant)}</query>" for grant in _GRANTS)
    values = "".join(f"<{name}>0</{name}>" for name in forbidden.EXPRESSIONS)
    fixed = "".join(f"<{name}><const/></{name}>" for name in FIXED)
    return f"""<clickhouse>
  <profiles><default>
    {values}
    <allow_introspection_functions>0</allow_introspection_functions>
    <constraints>{fixed}</constraints>
  </default></profiles>
  <users><default>
    <password></password>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>{grants}</grants>
  </default></users>
  <quotas><default></default></quotas>
</clickhouse>
"""


def server(users_file: Path, nothing: Path) -> str:
    """Of the server's settings those that bound it. `nothing`: a directory that stays empty."""
    empty = escape(f"{nothing}/")
    return f"""
  <users_config>{escape(str(users_file))}</users_config>
  <access_control_improvements>
    <table_engines_require_grant>true</table_engines_require_grant>
  </access_control_improvements>
  <user_files_path>{empty}</user_files_path>
  <user_scripts_path>{empty}</user_scripts_path>
  <format_schema_path>{empty}</format_schema_path>
  <remote_url_allow_hosts></remote_url_allow_hosts>
  <backups><allowed_disk>{BACKUPS_DISK}</allowed_disk></backups>
"""


def backups_disk(backups: Path) -> str:
    """The disk that backups go to, and nothing else does."""
    path = escape(str(backups))
    return f"<{BACKUPS_DISK}><type>local</type><path>{path}/</path></{BACKUPS_DISK}>"
