#include "registry/catalog.h"

/* Where the walk over projects begins: repositories after `last` are in projects whose "name/" is
 * not before this. No project's name holds a '/', so no such prefix begins another, and names of
 * repositories are ordered as their prefixes are. */
static str first_prefix(str last)
{
    size_t slash = str_find(last, '/');
    return slash < last.n ? str_first(last, slash + 1) : last;
}

/* The same rule as may(ACTION_PULL), as a filter; catalog_test.c compares the two. */
static struct db_cursor query_visible(struct db_conn *conn, const struct principal *who, str last,
                                      size_t limit)
{
    if (who->admin)
        return db_query(conn, Q_CATALOG_ALL, DB_TEXT(last), DB_INT(limit));
    return db_query(conn, Q_CATALOG_VISIBLE, DB_TEXT(first_prefix(last)), DB_TEXT(last),
                    DB_TEXT(who->name), DB_INT(limit));
}

enum err catalog_list(struct db_conn *conn, const struct principal *who, str last, size_t limit,
                      struct arena *a, str **names, size_t *n)
{
    str *list = ARENA_ARRAY(a, limit, str);
    size_t count = 0;
    DB_CURSOR struct db_cursor c = query_visible(conn, who, last, limit);
    while (count < limit && db_next(&c))
        list[count++] = db_copy(&c, 0, a);
    if (c.err)
        return c.err;
    *names = list;
    *n = count;
    return OK;
}
