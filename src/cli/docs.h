/* Help and manual page, made from commands.def, the tables of flags and the option table. Pure. */
#pragma once

#include "base/buf.h"

enum { DOCS_BYTES_MAX = 1 << 20 };

/* What "berth" alone prints. */
void docs_summary(struct buf *out);
/* Help for one command; false when there is none of this name. */
NODISCARD bool docs_command(struct buf *out, str name);
/* Name of a command near `name`; empty when nothing is near. */
str docs_nearest(str name);
/* docs/metrics.md. */
void docs_metrics(struct buf *out);
/* The manual page berth(1). */
void docs_man(struct buf *out);
