/* Who may do what. The whole policy is may(); auth_allows() only narrows it by a token. */
#include "auth/auth_private.h"

enum project { PROJECT_MISSING, PROJECT_PRIVATE, PROJECT_PUBLIC };

static enum err project_find(struct db_conn *conn, str name, enum project *ret)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_PROJECT_FIND, DB_TEXT(name));
    bool found = db_next(&c);
    if (c.err)
        return c.err;
    *ret = !found ? PROJECT_MISSING : db_int(&c, 1) ? PROJECT_PUBLIC : PROJECT_PRIVATE;
    return OK;
}

enum err may(const struct auth *auth, struct db_conn *conn, const struct principal *who,
             enum action action, str repository)
{
    if (who->admin)
        return OK;
    if (action == ACTION_CATALOG)
        return OK; /* the list shows only what one may pull */

    str name = str_first(repository, str_find(repository, '/'));
    bool own = who->kind == PRINCIPAL_USER && str_eq(name, who->name);
    bool open = own || auth->config.anonymous == AUTH_ANONYMOUS_PUSH;
    if (own && action != ACTION_PUSH)
        return OK;
    if (action == ACTION_DELETE && !open)
        return ERR_DENIED;

    enum project project;
    enum err e = project_find(conn, name, &project);
    if (e)
        return e;
    bool allowed = false;
    switch (project) {
    case PROJECT_MISSING: /* where a push would make it, clients look for content first */
        allowed = open && (action != ACTION_PUSH || auth->config.create_on_push);
        break;
    case PROJECT_PRIVATE:
        allowed = own;
        break;
    case PROJECT_PUBLIC:
        allowed = open || action == ACTION_PULL;
        break;
    }
    /* A project that is missing is in no memory: its refusal comes from a worker. So does that of
     * one that is hidden, or the time would tell which it is. */
    if (project == PROJECT_PRIVATE && !allowed && !db_may_block(conn))
        return ERR_WOULD_BLOCK;
    return allowed ? OK : ERR_DENIED;
}

static bool within_ceiling(const struct credentials *who, enum action action, str repository)
{
    if (!who->has_ceiling)
        return true;
    bool catalog = action == ACTION_CATALOG;
    str type = catalog ? STR("registry") : STR("repository");
    str name = catalog ? STR("catalog") : repository;
    for (size_t i = 0; i < who->grant_n; i++) {
        const struct grant *g = &who->grants[i];
        if ((g->actions & action) && str_eq(g->type, type) && str_eq(g->name, name))
            return true;
    }
    return false;
}

enum err auth_allows(const struct auth *auth, struct db_conn *conn, const struct credentials *who,
                     enum action action, str repository)
{
    if (!within_ceiling(who, action, repository))
        return ERR_DENIED;
    /* Clients that wait for a challenge would take a list of public repositories for all there is:
     * where logging in can show more, a catalog asked for without credentials is challenged. */
    if (action == ACTION_CATALOG && !who->presented &&
        auth->config.anonymous != AUTH_ANONYMOUS_PUSH)
        return ERR_DENIED;
    return may(auth, conn, &who->principal, action, repository);
}
