#include "auth/scope.h"

enum { REPOSITORY_ACTIONS = ACTION_PULL | ACTION_PUSH | ACTION_DELETE };

static const struct {
    unsigned bit;
    str word;
} actions[] = {
#define X(name, bit, word, help) {bit, STR_INIT(word)},
    ACTION_TABLE(X)
#undef X
};
enum { ACTION_N = sizeof actions / sizeof actions[0] };

static bool is_registry(const struct grant *g)
{
    return str_eq(g->type, STR("registry"));
}

/* The characters repository names are made of. Grammar is the router's concern: here a name is only
 * compared, and a malformed one equals no repository. */
static bool name_ok(str name)
{
    if (name.n == 0 || name.n > GRANT_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-' || c == '/';
        if (!ok)
            return false;
    }
    return true;
}

bool grant_init(struct arena *a, str type, str name, struct grant *ret)
{
    if (str_eq(type, STR("registry"))) {
        if (!str_eq(name, STR("catalog")))
            return false;
        *ret = (struct grant){.type = STR("registry"), .name = name, .asked = name};
        return true;
    }
    if (!str_eq(type, STR("repository")) || !name_ok(name))
        return false;
    bool bare = str_find(name, '/') == name.n;
    *ret = (struct grant){
        .type = STR("repository"),
        .name = bare ? arena_printf(a, "library/%.*s", STR_ARG(name)) : name,
        .asked = name,
    };
    return true;
}

void grant_add(struct grant *g, str word)
{
    unsigned domain = is_registry(g) ? ACTION_CATALOG : REPOSITORY_ACTIONS;
    if (str_eq(word, STR("*"))) {
        g->actions |= domain;
        return;
    }
    for (size_t i = 0; i < ACTION_N; i++)
        if (str_eq(word, actions[i].word))
            g->actions |= actions[i].bit & domain;
}

str grant_word(const struct grant *g, size_t n)
{
    for (size_t i = 0; i < ACTION_N; i++)
        if ((g->actions & actions[i].bit) && n-- == 0)
            return actions[i].word;
    return (str){0};
}

/* "repository(plugin)" is a repository. */
static bool type_without_class(str *type)
{
    str class;
    if (!str_cut(*type, '(', type, &class))
        return true;
    return str_find(class, ')') + 1 == class.n;
}

bool scope_parse(struct arena *a, str scope, struct grant *ret)
{
    str type, rest;
    if (!str_cut(scope, ':', &type, &rest) || !type_without_class(&type))
        return false;
    size_t colon = str_rfind(rest, ':');
    struct grant g;
    if (colon == rest.n || !grant_init(a, type, str_first(rest, colon), &g))
        return false;
    str words = str_skip(rest, colon + 1), word;
    while (str_next(&words, ',', &word))
        grant_add(&g, word);
    if (!g.actions)
        return false;
    *ret = g;
    return true;
}

void scope_list_add(struct arena *a, str scopes, struct grant_list *list)
{
    str scope;
    while (str_next(&scopes, ' ', &scope)) {
        struct grant g;
        if (!scope_parse(a, scope, &g))
            continue;
        size_t i = 0;
        while (i < list->n &&
               !(str_eq(list->items[i].type, g.type) && str_eq(list->items[i].asked, g.asked)))
            i++;
        if (i < list->n)
            list->items[i].actions |= g.actions;
        else if (i < GRANTS_MAX)
            list->items[list->n++] = g;
    }
}
