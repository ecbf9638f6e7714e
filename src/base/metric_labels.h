/* The labels metrics are split by: closed sets, X(id, value, help). A metric with such a set has
 * one series for each row. */
#pragma once

/* Every bound that can be met, by its option. */
#define METRIC_LIST_LIMIT(X)                                                                      \
    X(LIMIT_CONNECTIONS, "limits.connections", "accepting paused: that many are open")            \
    X(LIMIT_CONNECTIONS_PER_ADDRESS, "limits.connections_per_address",                            \
      "a connection was closed: its address has that many")                                       \
    X(LIMIT_REQUESTS_PER_ADDRESS, "limits.requests_per_address",                                  \
      "a request was refused: its address asks more often")                                       \
    X(LIMIT_ADDRESSES, "limits.addresses", "an address was not counted: that many are known")     \
    X(LIMIT_STORAGE_RESERVE, "storage.reserve", "content was refused: less than this is free")    \
    X(LIMIT_UPLOADS, "limits.uploads", "an upload was refused: that many are unfinished")         \
    X(LIMIT_PASSWORD_QUEUE, "auth.password_queue",                                                \
      "a login was refused: that many are being checked")                                         \
    X(LIMIT_HEAD, "limits.head",                                                                  \
      "431, or GOAWAY: a head was larger, or had more fields than limits.head_fields")            \
    X(LIMIT_TARGET, "limits.target", "414: a request's target was longer")                        \
    X(LIMIT_MANIFEST, "limits.manifest",                                                          \
      "413: a manifest was larger, or named more than limits.manifest_references")                \
    X(LIMIT_BLOB, "limits.blob", "413: a blob was larger")                                        \
    X(LIMIT_RANGES, "limits.ranges", "the whole was sent: a request had more ranges")             \
    X(LIMIT_PAGE, "limits.page", "a list was cut: a request wanted more")                         \
    X(LIMIT_OPEN_FILES, "open_files", "accepting paused: no file descriptors or memory are left") \
    X(LIMIT_QUEUE, "limits.queue", "a request was refused: that many wait for workers")           \
    X(LIMIT_RECEIVE_MEMORY, "limits.receive_memory", "a request was refused for want of it")      \
    X(LIMIT_RECEIVE_PAUSE, "limits.receive_memory.pause",                                         \
      "receiving a body paused for want of it")                                                   \
    X(LIMIT_HANDSHAKE_TIME, "timeouts.handshake",                                                 \
      "a connection was given up: its TLS handshake took longer")                                 \
    X(LIMIT_TLS_RECORDS, "tls_records",                                                           \
      "a connection was ended: 64 KiB of TLS records in a row brought no data")                   \
    X(LIMIT_HEAD_TIME, "timeouts.head", "a request was given up: its head took longer")           \
    X(LIMIT_BODY_RATE, "limits.body_rate", "a request was given up: its body came slower")        \
    X(LIMIT_SEND_TIME, "timeouts.send",                                                           \
      "an answer was given up: nothing could be sent for so long")                                \
    X(LIMIT_HTTP2_STREAMS, "http2.streams",                                                       \
      "a request over HTTP/2 was refused: that many are served")                                  \
    X(LIMIT_HTTP2_RESETS, "http2.resets",                                                         \
      "an HTTP/2 connection was ended: it broke off that many requests")                          \
    X(LIMIT_HTTP2_CONTROL, "http2.control_frames",                                                \
      "an HTTP/2 connection was ended: that many frames were of no use")                          \
    X(LIMIT_HTTP2_CONTINUATIONS, "http2.continuations",                                           \
      "an HTTP/2 connection was ended: one head in that many frames")                             \
    X(LIMIT_HTTP2_QUEUE, "http2.queue",                                                           \
      "reading from an HTTP/2 connection paused: that many frames wait for it to read")

#define METRIC_LIST_SYNC(X)                                \
    X(SYNC_FILE, "file", "the bytes of an upload or blob") \
    X(SYNC_DIRECTORY, "directory", "the name it is stored under")

#define METRIC_LIST_PASSWORD(X)                                                      \
    X(PASSWORD_RIGHT, "right", "computed, and right")                                \
    X(PASSWORD_WRONG, "wrong", "wrong, or there is no such user")                    \
    X(PASSWORD_REMEMBERED, "remembered", "right a moment ago (auth.password_cache)") \
    X(PASSWORD_REFUSED, "refused", "429: too many were being checked (auth.password_queue)")

#define METRIC_LIST_TOKEN(X)            \
    X(TOKEN_VALID, "valid", "accepted") \
    X(TOKEN_INVALID, "invalid", "malformed, expired, from elsewhere, or of a user who is gone")

#define METRIC_LIST_CACHE(X)                                     \
    X(CACHE_PASSWORDS, "passwords", "passwords that were right") \
    X(CACHE_TOKENS, "tokens", "tokens whose signature held")     \
    X(CACHE_ROWS, "rows", "answers of the database")             \
    X(CACHE_CONTENT, "content", "bytes of small blobs")          \
    X(CACHE_FILES, "files", "open files of larger blobs")

#define METRIC_LIST_OUTCOME(X)        \
    X(OUTCOME_OK, "ok", "to its end") \
    X(OUTCOME_FAILED, "failed", "ended by an error, which is in the log")

#define METRIC_LIST_GARBAGE(X)                                                              \
    X(GARBAGE_BLOBS, "blobs", "blobs that no repository links")                             \
    X(GARBAGE_LINKS, "links", "blobs that a repository no longer uses")                     \
    X(GARBAGE_MANIFESTS, "manifests", "manifests without a tag, where gc.untagged says so") \
    X(GARBAGE_BODIES, "bodies", "texts of manifests that no repository has any more")       \
    X(GARBAGE_UPLOADS, "uploads", "uploads that were abandoned")                            \
    X(GARBAGE_FILES, "files", "files of removed blobs")

#define METRIC_LIST_LEVEL(X)           \
    X(LEVEL_WARN, "warn", "a warning") \
    X(LEVEL_ERROR, "error", "an error")

/* Set by whoever notices, to 1 and, when it works again, to 0: that is all /readyz goes by. */
#define METRIC_LIST_UNREADY(X)                                                     \
    X(UNREADY_STOPPING, "stopping", "SIGTERM came; what is under way is finished") \
    X(UNREADY_DATABASE, "database", "the database could not be written")           \
    X(UNREADY_STORE, "store", "a blob could not be written")

/* Status codes Berth answers with. */
#define METRIC_CODES(X) \
    X(200)              \
    X(201)              \
    X(202)              \
    X(204)              \
    X(206)              \
    X(304)              \
    X(400)              \
    X(401)              \
    X(403)              \
    X(404)              \
    X(405)              \
    X(408)              \
    X(409)              \
    X(412)              \
    X(413)              \
    X(414)              \
    X(415)              \
    X(416)              \
    X(417)              \
    X(429)              \
    X(431)              \
    X(500)              \
    X(501)              \
    X(503)              \
    X(505)              \
    X(507)

/* X(set, tag of its enum, name of the label) */
#define METRIC_LABEL_SETS(X)              \
    X(LIMIT, limit, "limit")              \
    X(SYNC, synced, "of")                 \
    X(PASSWORD, password_check, "result") \
    X(TOKEN, token_check, "result")       \
    X(CACHE, cache_label, "cache")        \
    X(OUTCOME, outcome, "outcome")        \
    X(GARBAGE, garbage, "kind")           \
    X(LEVEL, problem, "level")            \
    X(UNREADY, unready, "reason")

#define X_ID(id, value, help) id,
#define X(set, tag, label)    enum tag { METRIC_LIST_##set(X_ID) set##_COUNT };
METRIC_LABEL_SETS(X)
#undef X
#undef X_ID
