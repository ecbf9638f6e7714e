/* Projects and repositories: found by name, made by the first push. All functions take the
 * connection they run on; those that write run inside db_tx. */
#pragma once

#include "db/db.h"
#include "registry/name.h"

struct repository {
    int64_t id;
    int64_t project;
};

/* ERR_NAME_UNKNOWN when there is none. */
NODISCARD enum err repository_find(struct db_conn *conn, str full_name, struct repository *ret);

/* Who makes what is missing, and how. */
struct maker {
    str principal; /* name; empty: anonymous */
    int64_t now_us;
    bool new_projects_public;
    bool may_make_projects;   /* projects.create_on_push */
    uint64_t tag_history_max; /* tags.history */
};

/* Writer: finds the repository or makes it, and its project when that is missing too. Whether the
 * principal may was decided by may(ACTION_PUSH) before; ERR_NAME_UNKNOWN when the project is
 * missing and projects are not made by pushes. */
NODISCARD enum err repository_ensure(struct db_conn *conn, const struct name *name,
                                     const struct maker *maker, struct repository *ret);

/* Whether the project exists. */
NODISCARD enum err project_exists(struct db_conn *conn, str name, bool *ret);

/* Writer: moves the running totals of repository and (when counted there too) project. */
NODISCARD enum err repository_add_size(struct db_conn *conn, const struct repository *repository,
                                       int64_t repository_bytes, int64_t project_bytes);

/* Writer, first start: the public project `library`. */
NODISCARD enum err project_ensure_library(struct db_conn *conn, void *now_us);
