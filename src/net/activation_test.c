#include "net/activation.h"

#include "base/test.h"
#include "net/unix_socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct arena arena;

/* In a child, whose descriptors 3 and on are the sockets, as a service manager would pass them. */
static void passed(const int *fds, int n, const char *names, bool mine,
                   void (*check)(enum err e, struct activated *got, size_t got_n, str message))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char text[32];
        int copies[4];
        for (int i = 0; i < n; i++)
            copies[i] = fcntl(fds[i], F_DUPFD, 100);
        for (int i = 0; i < n; i++)
            dup2(copies[i], 3 + i);
        snprintf(text, sizeof text, "%d", mine ? getpid() : 1);
        setenv("LISTEN_PID", text, 1);
        snprintf(text, sizeof text, "%d", n);
        setenv("LISTEN_FDS", text, 1);
        setenv("LISTEN_FDNAMES", names, 1);
        struct activated *got = NULL;
        size_t got_n = 99;
        struct error why = {0};
        enum err e = activation_take(&got, &got_n, &arena, &why);
        check(e, got, got_n, why.message);
        CHECK(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
        fflush(stdout);
        _exit(0);
    }
    int status = -1;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

static int inet_socket(struct address *bound)
{
    const struct address loopback = {.family = AF_INET, .ip = {127, 0, 0, 1}};
    struct error why = {0};
    int fd = -1;
    CHECK_INT(listener_open(&loopback, &fd, bound, &arena, &why), OK);
    return fd;
}

static struct address expected;

static void takes_two(enum err e, struct activated *got, size_t got_n, str message)
{
    if (e || got_n != 2)
        abort();
    struct listener *inet = &got[0].listener, *local = &got[1].listener;
    bool right = inet->fd == 3 && inet->inherited && inet->address.port == expected.port &&
                 !inet->path.n && str_eq(got[0].name, STR("https")) && local->fd == 4 &&
                 local->address.family == AF_UNSPEC && str_ends(local->path, STR("/http.sock")) &&
                 str_eq(got[1].name, STR("web")) && (fcntl(3, F_GETFD) & FD_CLOEXEC) &&
                 (fcntl(4, F_GETFL) & O_NONBLOCK);
    if (!right)
        abort();
}

static void none(enum err e, struct activated *got, size_t got_n, str message)
{
    if (e || got_n != 0)
        abort();
}

static void refused(enum err e, struct activated *got, size_t got_n, str message)
{
    if (e != ERR_CONFIG || !str_contains(message, STR("descriptor 3")))
        abort();
}

static void sockets(void)
{
    struct error why = {0};
    int fds[2] = {inet_socket(&expected), -1};
    str path = arena_printf(&arena, "%s/http.sock", test_dir());
    CHECK_INT(unix_listen(path, 0660, &fds[1], &arena, &why), OK);
    passed(fds, 2, "https:web", true, takes_two);
    passed(fds, 2, "https:web", false, none);
    close(fds[0]);
    close(fds[1]);
}

static void no_listener(void)
{
    int pipes[2];
    CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
    passed(pipes, 1, "", true, refused);
    int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* does not listen */
    passed(&plain, 1, "", true, refused);
    close(plain);
    close(pipes[0]);
    close(pipes[1]);
}

static void nothing_passed(void)
{
    struct activated *got = NULL;
    size_t n = 99;
    struct error why = {0};
    CHECK_INT(activation_take(&got, &n, &arena, &why), OK);
    CHECK_INT(n, 0);
    arena_release(&arena);
}

TESTS({"sockets", sockets}, {"no listener", no_listener}, {"nothing passed", nothing_passed});
