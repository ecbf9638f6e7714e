#include "auth/scope.h"
#include "base/test.h"

static struct arena arena;

/* "type name asked actions", or "-" when the scope is dropped. */
static str parsed(const char *scope)
{
    struct grant g;
    if (!scope_parse(&arena, str_from(scope), &g))
        return STR("-");
    str words = STR("");
    for (size_t i = 0; grant_word(&g, i).p; i++)
        words = arena_printf(&arena, "%.*s%s%.*s", STR_ARG(words), i ? "," : "",
                             STR_ARG(grant_word(&g, i)));
    return arena_printf(&arena, "%.*s %.*s %.*s %.*s", STR_ARG(g.type), STR_ARG(g.name),
                        STR_ARG(g.asked), STR_ARG(words));
}

static void parses(void)
{
    static const struct {
        const char *scope, *want;
    } cases[] = {
        {"repository:alice/app:pull", "repository alice/app alice/app pull"},
        {"repository:alice/app:pull,push", "repository alice/app alice/app pull,push"},
        {"repository:alice/app:push,pull", "repository alice/app alice/app pull,push"},
        {"repository:app:pull", "repository library/app app pull"},
        {"repository:a/b/c/d:delete", "repository a/b/c/d a/b/c/d delete"},
        {"repository:a/b:*", "repository a/b a/b pull,push,delete"},
        {"repository(plugin):a/b:pull", "repository a/b a/b pull"},
        {"repository:a/b:pull,fly,", "repository a/b a/b pull"},
        {"registry:catalog:*", "registry catalog catalog *"},
        {"", "-"},
        {"repository", "-"},
        {"repository:a/b", "-"},
        {"repository:a/b:", "-"},
        {"repository::pull", "-"},
        {"repository:a/b:fly", "-"},
        {"repository:a/b:PULL", "-"},
        {"Repository:a/b:pull", "-"},
        {"repository(plugin:a/b:pull", "-"},
        {"repository(plugin)x:a/b:pull", "-"},
        {"repository:localhost:5000/a/b:pull", "-"},
        {"repository:A/b:pull", "-"},
        {"repository:a\"b:pull", "-"},
        {"registry:catalog:pull", "-"},
        {"registry:other:*", "-"},
        {"volume:a/b:pull", "-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_STR(parsed(cases[i].scope), cases[i].want);
    arena_release(&arena);
}

static void bounds_names(void)
{
    char scope[400];
    for (int n = 255; n <= 256; n++) {
        int at = snprintf(scope, sizeof scope, "repository:a/");
        memset(scope + at, 'b', (size_t)n - 2);
        snprintf(scope + at + n - 2, sizeof scope - (size_t)(at + n - 2), ":pull");
        struct grant g;
        CHECK_INT(scope_parse(&arena, str_from(scope), &g), n == 255);
    }
    arena_release(&arena);
}

static void joins_lists(void)
{
    struct grant_list list = {0};
    scope_list_add(&arena, STR("repository:a/b:pull  repository:a/c:pull junk"), &list);
    scope_list_add(&arena, STR(""), &list);
    scope_list_add(&arena, STR("repository:a/b:push registry:catalog:*"), &list);
    CHECK_INT(list.n, 3);
    CHECK_STR(list.items[0].name, "a/b");
    CHECK_INT(list.items[0].actions, ACTION_PULL | ACTION_PUSH);
    CHECK_STR(list.items[1].name, "a/c");
    CHECK_INT(list.items[1].actions, ACTION_PULL);
    CHECK_INT(list.items[2].actions, ACTION_CATALOG);
    arena_release(&arena);
}

static void bounds_lists(void)
{
    struct grant_list list = {0};
    for (int i = 0; i < 3 * GRANTS_MAX; i++)
        scope_list_add(&arena, arena_printf(&arena, "repository:a/r%d:pull", i), &list);
    CHECK_INT(list.n, GRANTS_MAX);
    scope_list_add(&arena, STR("repository:a/r0:push"), &list);
    CHECK_INT(list.items[0].actions, ACTION_PULL | ACTION_PUSH);
    arena_release(&arena);
}

TESTS({"parses", parses}, {"bounds_names", bounds_names}, {"joins_lists", joins_lists},
      {"bounds_lists", bounds_lists});
