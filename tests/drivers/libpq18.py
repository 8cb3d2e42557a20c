"""libpq 18 as a program uses it that brings tokens of its own: a hook gives TOKEN once the server has said where tokens
are to be had.

    libpq18.py LIBRARY CONNINFO SQL
"""

import ctypes
import os
import sys

# PGauthData of libpq-fe.h.
PQAUTHDATA_OAUTH_BEARER_TOKEN = 1


class Request(ctypes.Structure):
    """PGoauthBearerRequest."""

    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("asynchronous", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_void_p),
        ("user", ctypes.c_void_p),
    ]


HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
TOKEN = ctypes.create_string_buffer(os.environ["TOKEN"].encode())


@HOOK
def give(kind, _connection, data):
    if kind != PQAUTHDATA_OAUTH_BEARER_TOKEN:
        return 0
    request = ctypes.cast(data, ctypes.POINTER(Request)).contents
    request.token = ctypes.addressof(TOKEN)
    return 1


def main():
    library, conninfo, sql = sys.argv[1:]
    pq = ctypes.CDLL(library)
    pq.PQconnectdb.restype = pq.PQexec.restype = ctypes.c_void_p
    pq.PQerrorMessage.restype = pq.PQgetvalue.restype = ctypes.c_char_p
    for function in (pq.PQstatus, pq.PQerrorMessage, pq.PQresultStatus):
        function.argtypes = [ctypes.c_void_p]
    pq.PQexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    pq.PQgetvalue.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    pq.PQsetAuthDataHook(give)
    connection = pq.PQconnectdb(conninfo.encode())
    if pq.PQstatus(connection) != 0:
        sys.exit(pq.PQerrorMessage(connection).decode())
    result = pq.PQexec(connection, sql.encode())
    print(pq.PQgetvalue(result, 0, 0).decode())


main()
