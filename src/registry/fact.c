#include "registry/fact.h"

#include "json/read.h"

static void add(struct arena *a, struct facts *facts, const char *prefix, str key, str value)
{
    size_t key_bytes = strlen(prefix) + key.n;
    if (facts->n == FACTS_MAX || key_bytes > FACT_KEY_MAX || value.n > FACT_VALUE_MAX)
        return;
    facts->items[facts->n++] = (struct fact){
        .key = arena_printf(a, "%s%.*s", prefix, STR_ARG(key)),
        .value = arena_str(a, value),
    };
}

static void add_strings(struct arena *a, struct facts *facts, const char *prefix,
                        const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (json_is_string(value))
            add(a, facts, prefix, str_from(key),
                str_make(json_string_value(value), json_string_length(value)));
    }
}

/* Images write os and architecture at the top of their config, an index in each child's platform.
 */
static void add_platform(struct arena *a, struct facts *facts, const json_t *object)
{
    str os, architecture, variant;
    if (!json_member_str(object, "os", &os) ||
        !json_member_str(object, "architecture", &architecture) || !os.n || !architecture.n)
        return;
    if (!json_member_str(object, "variant", &variant))
        variant = STR("");
    add(a, facts, "platform", STR(""),
        arena_printf(a, "%.*s/%.*s%s%.*s", STR_ARG(os), STR_ARG(architecture), variant.n ? "/" : "",
                     STR_ARG(variant)));
}

static void read_config(struct arena *a, str config, struct facts *facts)
{
    JSON_CLEANUP json_t *root = NULL;
    str why, created;
    if (!config.p || json_read(a, config, &root, &why) || !json_is_object(root))
        return;
    add_platform(a, facts, root);
    if (json_member_str(root, "created", &created))
        add(a, facts, "created", STR(""), created);
    add_strings(a, facts, "label.", json_member(json_member(root, "config"), "Labels"));
}

void facts_read(struct arena *a, const struct manifest *manifest, str bytes, str config,
                struct facts *ret)
{
    JSON_CLEANUP json_t *root = NULL;
    str why;
    ret->n = 0;
    if (json_read(a, bytes, &root, &why))
        return;
    if (manifest_type_is_index(manifest->type)) {
        const json_t *children = json_member(root, "manifests");
        for (size_t i = 0; i < json_array_size(children); i++)
            add_platform(a, ret, json_member(json_array_get(children, i), "platform"));
    } else if (manifest->ref_n) {
        add(a, ret, "config.type", STR(""), manifest->refs[0].media_type);
        read_config(a, config, ret);
    }
    add_strings(a, ret, "annotation.", json_member(root, "annotations"));
}

enum err facts_insert(struct db_conn *conn, int64_t body, const struct facts *facts)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < facts->n; i++)
        e = db_exec(conn, Q_FACT_INSERT, DB_INT(body), DB_TEXT(facts->items[i].key),
                    DB_TEXT(facts->items[i].value));
    return e;
}

enum err facts_list(struct db_conn *conn, int64_t body, str key, struct arena *a, str **values,
                    size_t *n)
{
    str *list = ARENA_ARRAY(a, FACTS_MAX, str);
    size_t count = 0;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_FACT_LIST, DB_INT(body), DB_TEXT(key));
    while (count < FACTS_MAX && db_next(&c))
        list[count++] = db_copy(&c, 0, a);
    if (c.err)
        return c.err;
    *values = list;
    *n = count;
    return OK;
}
