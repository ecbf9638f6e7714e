#include "cli/first_start.h"

#include "base/clock.h"
#include "cli/data_dir.h"
#include "registry/repository.h"

enum { PASSWORD_BYTES_MAX = 72 }; /* what bcrypt reads */

static enum err kept_password(const struct app *app, struct arena *a, str *ret, struct error *why)
{
    return data_dir_read_secret(app->conf->data, FIRST_START_PASSWORD, PASSWORD_BYTES_MAX, a, ret,
                                why);
}

/* The file comes first, and is written again even if an earlier start has left it: that one may
 * have ended before it was durable. */
static enum err make_admin(struct app *app, struct arena *a, str *password, struct error *why)
{
    str chosen = {0};
    enum err e = kept_password(app, a, &chosen, why);
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (!chosen.n)
        chosen = auth_generate_password(a);
    e = data_dir_write_secret(app->conf->data, FIRST_START_PASSWORD, chosen, a, why);
    if (!e)
        e = auth_add_admin(app->auth, chosen);
    if (!e)
        *password = chosen;
    return e;
}

/* A file that cannot be read, or with what is no longer the password, is nobody's loss. */
static enum err find_unseen(struct app *app, struct arena *a, str *password)
{
    struct error unused = {0};
    struct principal who;
    str kept;
    if (kept_password(app, a, &kept, &unused) || !kept.n)
        return OK;
    enum err e =
        auth_verify_password(app->auth, db_reader(app->db, 0), STR("admin"), kept, a, &who);
    if (!e)
        *password = kept;
    return e == ERR_UNAUTHORIZED ? OK : e;
}

enum err first_start(struct app *app, bool terminal, struct arena *a, str *password,
                     struct error *why)
{
    int64_t now_us = clock_wall_us();
    bool found = false;
    str given = app->conf->auth_admin_password;
    enum err e = db_tx(app->db, project_ensure_library, &now_us);
    if (!e)
        e = auth_has_admin(app->auth, &found);
    if (e)
        return e;
    if (given.n)
        return found ? OK : auth_add_admin(app->auth, given);
    if (found)
        return terminal ? find_unseen(app, a, password) : OK;
    return make_admin(app, a, password, why);
}

enum err first_start_shown(str dir, struct arena *a, struct error *why)
{
    return data_dir_remove_secret(dir, FIRST_START_PASSWORD, a, why);
}
