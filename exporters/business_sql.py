"""One query of the `business` exporter: read-only, with a time limit that also holds when the server is stuck."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from observe.errors import Unavailable
from observe.exporters.business_config import Source
from observe.exporters.secret import read_secret


def rows(source: Source) -> tuple[list[Mapping[str, Any]], int]:
    """At most `max_rows` rows as mappings, and how many more the answer had (1 stands for "some").

    The transaction is read-only where the database knows that, and rolled back everywhere.
    """
    import sqlalchemy

    with _connection(source) as connection:
        began = time.monotonic()
        try:
            # By a cursor of the server, where it has them: a query of a million rows costs `max_rows` of memory here.
            asked = connection.execution_options(stream_results=True, max_row_buffer=source.max_rows + 1)
            result = asked.execute(sqlalchemy.text(source.settings["query"]))
            found = result.fetchmany(source.max_rows + 1)
            names = list(result.keys())
            result.close()
        except sqlalchemy.exc.DBAPIError as error:
            if time.monotonic() - began >= source.timeout_s:
                raise Unavailable(
                    f"the query was ended after {source.timeout_s:g} s: {_cause(error)}; raise `timeout`",
                    reason="timeout",
                ) from error
            raise Unavailable(f"the query failed: {_cause(error)}", reason="query") from error
        finally:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                connection.rollback()
    return [dict(zip(names, row, strict=True)) for row in found[:source.max_rows]], int(len(found) > source.max_rows)


@contextlib.contextmanager
def _connection(source: Source) -> Iterator[Any]:
    import sqlalchemy

    settings = source.settings
    try:
        url = sqlalchemy.make_url(settings["url"])
        password = read_secret(settings.get("password_file", ""), settings.get("password_env", ""))
        if password:
            url = url.set(password=password)
        arguments = _connect_args(url, source)
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, connect_args=arguments)
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise Unavailable(f"sql url: {error}", retryable=False, reason="url") from error
    except ImportError as error:
        raise Unavailable(f"the driver is not installed: {error}; pip install it", retryable=False) from error
    shown = url.render_as_string(hide_password=True)
    try:
        connection = engine.connect()
    except sqlalchemy.exc.DBAPIError as error:
        raise Unavailable(f"{shown} cannot be reached: {_cause(error)}", reason="unreachable") from error
    cursors: list[Any] = []
    sqlalchemy.event.listen(connection, "before_cursor_execute", lambda _, cursor, *_rest: cursors.append(cursor))
    guard = threading.Timer(source.timeout_s + 1.0, _cut, (connection.connection.dbapi_connection,))
    guard.daemon = True
    guard.start()
    try:
        _make_read_only(connection, source.timeout_s)
        yield connection
    except sqlalchemy.exc.DBAPIError as error:
        raise Unavailable(f"{shown}: {_cause(error)}", reason="query") from error
    finally:
        guard.cancel()
        with contextlib.suppress(Exception):  # the server may be gone; the answer we have does not depend on it
            connection.close()
        engine.dispose()
        for cursor in cursors:  # one whose connection broke could not be closed before
            with contextlib.suppress(Exception):
                cursor.close()


def _connect_args(url: Any, source: Source) -> dict[str, Any]:
    """A time limit for connecting, in each driver's own words."""
    limit = max(1, round(source.timeout_s))
    if url.get_backend_name() in {"postgresql", "mysql", "mariadb"}:
        return {"connect_timeout": limit}
    return {"timeout": source.timeout_s} if url.get_backend_name() == "sqlite" else {}


def _make_read_only(connection: Any, timeout_s: float) -> None:
    """Tell the database itself; where it does not know these words, the rollback and the account's rights remain."""
    dialect = connection.dialect.name
    limit_ms = int(timeout_s * 1000)
    if dialect == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {limit_ms}")
    elif dialect in {"mysql", "mariadb"}:
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        connection.rollback()
        words = "max_statement_time = {:.3f}" if connection.dialect.is_mariadb else "max_execution_time = {:.0f}"
        connection.exec_driver_sql("SET SESSION " + words.format(timeout_s if "statement" in words else limit_ms))
    elif dialect == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        until = time.monotonic() + timeout_s
        connection.connection.dbapi_connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)


def _cut(raw: Any) -> None:
    """End a connection whose server says nothing: its own time limit does not hold while it is stuck."""
    with contextlib.suppress(Exception):
        handle = raw.fileno()
        with socket.socket(fileno=socket.dup(handle)) as twin:
            twin.shutdown(socket.SHUT_RDWR)


def _cause(error: Any) -> str:
    """The driver's own first line."""
    return str(error.orig or error).strip().splitlines()[0]
