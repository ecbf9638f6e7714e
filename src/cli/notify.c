#include "cli/notify.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { STATUS_BYTES_MAX = 256 };

/* "@name" is an abstract address. */
static int connect_to(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || n >= sizeof sa.sun_path)
        return -1;
    memcpy(sa.sun_path, path, n);
    if (path[0] == '@')
        sa.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static uint64_t variable_number(const char *name)
{
    uint64_t n;
    return str_u64(str_from(getenv(name)), &n) ? n : 0;
}

bool notify_open(struct notify *n)
{
    const char *path = getenv("NOTIFY_SOCKET");
    uint64_t usec = variable_number("WATCHDOG_USEC"), pid = variable_number("WATCHDOG_PID");
    bool wanted = path && *path;
    *n = (struct notify){.fd = wanted ? connect_to(path) : -1};
    if (n->fd >= 0 && (pid == 0 || pid == (uint64_t)getpid()))
        n->watchdog_ms = usec / 1000;
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return !wanted || n->fd >= 0;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

/* Never blocks: a manager that does not read is told nothing. */
static void tell(const struct notify *n, const char *text, int length)
{
    if (n->fd >= 0 && length > 0)
        (void)!send(n->fd, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void notify_ready(const struct notify *n, str status)
{
    char text[512];
    tell(n, text,
         snprintf(text, sizeof text, "READY=1\nSTATUS=%.*s",
                  STR_ARG(str_first(status, STATUS_BYTES_MAX))));
}

void notify_reloading(const struct notify *n)
{
    char text[128];
    tell(n, text,
         snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reloading",
                  (unsigned long long)clock_mono_us()));
}

void notify_stopping(const struct notify *n, str status)
{
    char text[512];
    tell(n, text,
         snprintf(text, sizeof text, "STOPPING=1\nSTATUS=%.*s",
                  STR_ARG(str_first(status, STATUS_BYTES_MAX))));
}

void notify_alive(const struct notify *n)
{
    tell(n, "WATCHDOG=1", sizeof "WATCHDOG=1" - 1);
}
