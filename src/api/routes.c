#include "api/routes.h"

#include "api/app.h"

const struct route *const api_routes[] = {
#define X(table) table,
    ROUTE_TABLES(X)
#undef X
};
const size_t api_route_tables_n = sizeof api_routes / sizeof api_routes[0];
