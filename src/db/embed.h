/* Text files built into the program by tools/embed.py; a row without name ends the list. */
#pragma once

struct embedded_file {
    const char *name;
    const char *text;
};

/* schema/sqlite/NNNN_name.sql in order. */
extern const struct embedded_file schema_sqlite[];
