/* Lifetimes of a tag, as "berth tag log" reads them from the API and prints them. Pure. */
#pragma once

#include "base/buf.h"
#include "json/read.h"

/* p == NULL where the API says null. */
struct tag_row {
    str from, until, from_by, until_by, digest, media_type;
    bool exists; /* the repository still has the manifest */
};

struct tag_rows {
    str repository, tag;
    struct tag_row *items; /* newest first */
    size_t n, cap;
};

/* Appends what a page of the API's history holds; strings in the arena. */
void tag_rows_read(struct tag_rows *rows, const json_t *page, struct arena *a);

/* For people, with a heading. */
void tag_rows_table(const struct tag_rows *rows, struct buf *out);
/* For programs: from, until, by, ended by, digest, "kept" or "deleted", with tabs between them. */
void tag_rows_columns(const struct tag_rows *rows, struct buf *out);
/* One object, as the API's. */
void tag_rows_json(const struct tag_rows *rows, struct buf *out);
