/* Telling the service manager how it stands: the datagrams of sd_notify(3), and its watchdog. Does
 * nothing when there is no service manager. Used by the main thread only. */
#pragma once

#include "base/str.h"

struct notify {
    int fd;               /* -1: nobody listens */
    uint64_t watchdog_ms; /* a sign of life is due at least this often; 0: none */
};

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, before there are
 * other threads. False when the socket cannot be reached: *n is usable all the same. */
NODISCARD bool notify_open(struct notify *n);
void notify_close(struct notify *n);

/* Ready, also after a reload. `status` is a line for people. */
void notify_ready(const struct notify *n, str status);
void notify_reloading(const struct notify *n);
void notify_stopping(const struct notify *n, str status);
/* A sign of life. */
void notify_alive(const struct notify *n);
