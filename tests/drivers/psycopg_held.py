"""psycopg 3 where deletes wait for people: its calls take longer, and that is all that a program notices."""

import sys

import psycopg

DELETE = "delete from orders where id = %s"

with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    notices = []
    conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    # Parse to Execute in one batch, and then as a prepared statement, each time.
    assert conn.execute(DELETE, (111,)).rowcount == 1
    for number in (112, 113):
        assert conn.execute(DELETE, (number,), prepare=True).rowcount == 1
    # As a text.
    with psycopg.ClientCursor(conn) as cursor:
        assert cursor.execute(DELETE, (114,)).rowcount == 1
    # In a transaction, and in a pipeline.
    with conn.transaction():
        assert conn.execute(DELETE, (115,)).rowcount == 1
    with conn.pipeline():
        cursor = conn.execute(DELETE + " returning note", (116,))
        assert cursor.fetchone() is not None
    assert sum("waits for the consent" in notice for notice in notices) == 6, notices
    # What is denied is an error, after which the connection is as good as before.
    try:
        conn.execute(DELETE, (117,))
        raise AssertionError("it ran")
    except psycopg.errors.InsufficientPrivilege as error:
        assert "not this one" in str(error), error
    assert conn.execute("select id from orders where id = %s", (117,)).fetchone() == (117,)
