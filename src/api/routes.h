/* Every route of the program. A handler file exports one table, ended by a row without pattern; to
 * add a route, add a row above its handler's file end; to add a file, add its table here. */
#pragma once

#include "http/router.h"

#define ROUTE_TABLES(X)   \
    X(v2_manifest_routes) \
    X(v2_blob_routes)     \
    X(v2_upload_routes)   \
    X(v2_referrer_routes) \
    X(v2_list_routes)     \
    X(berth_tag_routes)   \
    X(berth_gc_routes)    \
    X(token_routes)       \
    X(health_routes)      \
    X(metrics_routes)

#define X(table) extern const struct route table[];
ROUTE_TABLES(X)
#undef X
