#include "cli/admin.h"

#include "cli/cli.h"
#include "cli/local.h"
#include "net/unix_socket.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIMEOUT_MS = 60 * 1000, ANSWER_BYTES_MAX = 64 << 20 };

static bool failed(int *exit_code)
{
    *exit_code = CLI_FAILED;
    return false;
}

/* A data directory is made by a server's start, never by a command with a mistyped --data. */
static bool has_store(const struct admin *admin)
{
    struct stat st;
    str path = arena_printf(admin->arena, "%.*s/berth.db", STR_ARG(admin->conf->data));
    if (stat(path.p, &st) == 0)
        return true;
    if (errno == ENOENT || errno == ENOTDIR)
        cli_error("there is no registry in %.*s; name its directory with --data",
                  STR_ARG(admin->conf->data));
    else
        cli_error("cannot read %.*s: %s", STR_ARG(path), strerrordesc_np(errno));
    return false;
}

static bool open_store(struct admin *admin)
{
    struct error why = {0};
    if (!has_store(admin))
        return false;
    admin->local = true;
    enum err e = app_open(&admin->app, admin->conf, 1, &admin->lock_fd, admin->arena, &why);
    if (e == ERR_BUSY && admin->lock_fd < 0)
        cli_error("a server has %.*s, but nobody answers at %.*s: it is starting or stopping, or "
                  "its admin.socket is another one",
                  STR_ARG(admin->conf->data),
                  STR_ARG(admin->socket.p ? admin->socket : STR("its admin socket")));
    else if (e)
        cli_error("%.*s", STR_ARG(why.message.n ? why.message : str_from(err_text(e))));
    return e == OK;
}

bool admin_open(struct admin *admin, const struct conf *conf, struct arena *a, int *exit_code)
{
    struct error why = {0};
    int fd;
    *admin = (struct admin){.conf = conf, .arena = a, .lock_fd = -1};
    admin->socket = app_admin_socket(conf, a);
    enum err e = admin->socket.p ? unix_connect(admin->socket, &fd, a, &why) : ERR_NOT_FOUND;
    if (e == OK) {
        close(fd);
        return true;
    }
    if (e == ERR_NOT_FOUND)
        return open_store(admin) || failed(exit_code);
    if (e == ERR_PERMISSION)
        cli_error("%.*s; only root and the user who runs the server may", STR_ARG(why.message));
    else
        cli_error("%.*s", STR_ARG(why.message));
    return failed(exit_code);
}

void admin_close(struct admin *admin)
{
    if (admin->local)
        app_close(&admin->app, &admin->lock_fd);
    admin->local = false;
}

/* Target of a Link to the next page, as v2_link_next writes it. */
static str next_page(const struct client_answer *answer)
{
    str before, rest, target;
    str link = client_header(answer, STR("link"));
    if (!str_ends(link, STR("rel=\"next\"")) || !str_cut(link, '<', &before, &rest))
        return (str){0};
    return str_cut(rest, '>', &target, &rest) ? target : (str){0};
}

/* The first of the errors of an answer. */
static void print_error(const struct client_answer *answer, const json_t *json)
{
    str message;
    const json_t *errors = json_member(json, "errors");
    if (errors && json_member_str(json_array_get(errors, 0), "message", &message))
        cli_error("%.*s", STR_ARG(message));
    else
        cli_error("the server answered with status %d", answer->status);
}

bool admin_call(struct admin *admin, enum method method, str target, str body,
                struct admin_answer *ret, int *exit_code)
{
    const struct client_request request = {
        .socket = admin->socket,
        .method = method,
        .target = target,
        .body = body,
        .timeout_ms = TIMEOUT_MS,
        .answer_bytes_max = ANSWER_BYTES_MAX,
    };
    struct client_answer answer;
    struct error why = {0};
    JSON_CLEANUP json_t *json = NULL;
    str trouble;
    if (admin->local) {
        local_exchange(&admin->app, &request, admin->arena, &answer);
    } else if (client_exchange(&request, admin->arena, &answer, &why)) {
        cli_error("%.*s", STR_ARG(why.message));
        return failed(exit_code);
    }
    bool readable = json_read(admin->arena, answer.body, &json, &trouble) == OK;
    if (!readable || answer.status >= 300) {
        print_error(&answer, json);
        return failed(exit_code);
    }
    *ret = (struct admin_answer){.json = json, .next = next_page(&answer)};
    json = NULL;
    return true;
}
