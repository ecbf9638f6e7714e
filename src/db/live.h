/* What keeps content alive: the one list collection goes by (docs/gc.md). Each row is SQL; a row of
 * the database is live when any of its list holds. A new kind of content that uses blobs or
 * manifests adds its row here, and nothing else.
 *
 * The columns that are compared have indexes, on both sides. Strings for queries.def. */
#pragma once

/* A blob `b`. */
#define LIVE_BLOB_TABLE(X) \
    /* a repository links it */ X("SELECT 1 FROM repository_blob u WHERE u.blob = b.id")

/* A link `l` of a blob `b`.
 *
 * Who begins such a use also ends the review of the link, in the same transaction
 * (Q_REVIEW_END_OF): that is what keeps a collection that has judged before from removing it.
 *
 * A base layer is named by a hundred thousand manifests, of which this repository may have none; a
 * repository may have as many, of which none names the blob. So it is looked for among the fewer of
 * the two, or almost: when more than a hundred manifests name the blob, among the repository's. */
#define LIVE_LINK_TABLE(X)                                                                \
    /* a manifest of the repository uses it: looked for among those that name the blob */ \
    X("SELECT 1 FROM manifest_blob c CROSS JOIN manifest u WHERE " NAMED_BY_FEW           \
      " AND c.digest = b.digest AND u.body = c.parent AND u.repository = l.repository")   \
    /* the same, looked for among the repository's */                                     \
    X("SELECT 1 FROM manifest u CROSS JOIN manifest_blob c WHERE NOT " NAMED_BY_FEW       \
      " AND u.repository = l.repository AND c.digest = b.digest AND c.parent = u.body")
#define NAMED_BY_FEW \
    "((SELECT 1 FROM manifest_blob n WHERE n.digest = b.digest LIMIT 1 OFFSET 100) IS NULL)"

/* A manifest's body `b`. */
#define LIVE_BODY_TABLE(X) \
    /* a repository has it */ X("SELECT 1 FROM manifest u WHERE u.body = b.id")

/* A repository's manifest `m` with the body `b`, by itself. */
#define LIVE_MANIFEST_TABLE(X)                                 \
    /* a tag points at it */                                   \
    X("SELECT 1 FROM tag u WHERE u.repository = m.repository " \
      "AND u.digest = b.digest AND u.until_at IS NULL")

/* A manifest with the body `b`, through others of its repository, $1: those that are live as long
 * as they are. Selects their bodies. */
#define LIVE_THROUGH_TABLE(X, AND_X)                                                         \
    /* an index that names it */                                                             \
    X("SELECT u.body FROM manifest_child c JOIN manifest u ON u.body = c.parent "            \
      "JOIN manifest_body b ON b.digest = c.digest WHERE u.repository = $1 AND b.id = $2")   \
    /* what it is about: its subject */                                                      \
    AND_X("SELECT u.body FROM manifest_body b JOIN manifest_body s ON s.digest = b.subject " \
          "JOIN manifest u ON u.body = s.id WHERE u.repository = $1 AND b.id = $2")

#define LIVE_OR(sql)    " OR EXISTS (" sql ")"
#define LIVE_FIRST(sql) sql
#define LIVE_UNION(sql) " UNION ALL " sql
#define LIVE_BLOB       "(1 = 0" LIVE_BLOB_TABLE(LIVE_OR) ")"
#define LIVE_LINK       "(1 = 0" LIVE_LINK_TABLE(LIVE_OR) ")"
#define LIVE_BODY       "(1 = 0" LIVE_BODY_TABLE(LIVE_OR) ")"
#define LIVE_MANIFEST   "(1 = 0" LIVE_MANIFEST_TABLE(LIVE_OR) ")"
#define LIVE_THROUGH    LIVE_THROUGH_TABLE(LIVE_FIRST, LIVE_UNION)

/* Review begins anew, but never earlier: somebody may have asked for the row meanwhile. The time
 * changes in any case: by that a collection, which has judged the row in use before, sees that a
 * use has ended since. */
#define REVIEW_LATER "review_from = CASE WHEN review_from >= $1 THEN review_from + 1 ELSE $1 END "
