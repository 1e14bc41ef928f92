"""The ClickHouse engine of one machine: chDB behind ClickHouse's HTTP interface.

`python -m embedded.store --data-dir DIR --port N` serves one data directory. A stock
`clickhouse_connect` client does not notice that it talks to a library, so every service has the
same code here and in production. What is not there: users, quotas, replication, the native port.

    __main__.py  arguments, start, signals
    app.py       which way a request goes
    insert.py    the way of data into a table: appended as the body arrives
    rows.py      the way of results: piece by piece, or whole
    exchange.py  one request and its answer: body, headers, summary, exception
    statement.py what a statement is: its kind, its format, where its data begins
    request.py   parameters, settings, compressed and multipart bodies
    answer.py    which formats can be streamed, and how an answer is compressed
    engine.py    the engine, its handles, and sessions
    errors.py    exceptions as ClickHouse's clients expect them
"""
