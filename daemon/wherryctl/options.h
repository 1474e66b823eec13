#pragma once
/* The command line: options anywhere, checked against the command's row in the table. */
#include "daemon/wherryctl/commands.h"
#include "lib/basics/error.h"

typedef struct OptionName {
    const char *name; /* "--json"; NULL ends the table */
    OptionBit bit;
    const char *value; /* what help calls its value; NULL: it takes none */
    const char *summary;
} OptionName;
extern const OptionName OPTION_NAMES[];

typedef struct CommandLine {
    Options options;
    const Command *command; /* NULL: none was named */
    char **arguments;       /* owned, the strings are not */
    size_t count;
} CommandLine;
void command_line_clear(CommandLine *line); /* for _cleanup_ too */

/* Negative: wrong use, ERROR says what and suggests. */
int command_line_parse(int argc, char **argv, CommandLine *ret, Error *error);
