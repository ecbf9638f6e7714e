/* The option table for people: effective values, and the reference in four forms. All append to
 * `out`, whose ceiling the caller checks (buf.full). Pure; any thread. */
#pragma once

#include "base/buf.h"
#include "conf/conf.h"

enum { CONF_SHOW_BYTES_MAX = 4 << 20 }; /* enough for any of them */

/* Every effective value as a configuration file, each with where it came from as a comment. Values
 * of SECRET options are left out; a comment tells whether one is set. */
void conf_show(struct buf *out, const struct conf *conf);

/* A configuration file with every option at its default, commented out. */
void conf_example(struct buf *out);

/* The option reference: plain text for terminals, Markdown, and roff for a manual page (from the
 * first option on, without heading). */
void conf_help(struct buf *out);
void conf_markdown(struct buf *out);
void conf_man(struct buf *out);

/* Appends text broken between words into lines of at most `width` columns, each begun with
 * `indent` (which counts) and ended by a newline. */
void text_wrap(struct buf *out, const char *indent, size_t width, str text);

/* Appends text as roff: nothing in it acts as a request or escape. */
void roff_add(struct buf *out, str text);
